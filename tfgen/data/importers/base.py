"""What all importers share: the form of their result."""

from dataclasses import dataclass

from tfgen.data.dataset import Split, count_classes


@dataclass(frozen=True)
class Imported:
    """The images and labels of local files.

    Attributes:
        splits: `train` and, if there is one, `test`.
        class_names: names of the classes by label; None if the files name no classes.
    """

    splits: dict[str, Split]
    class_names: list[str] | None = None

    @property
    def num_classes(self) -> int | None:
        """Number of classes, None without labels."""
        if self.class_names is not None:
            return len(self.class_names)
        return count_classes(self.splits.values())
