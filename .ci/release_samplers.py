"""Takes freshly trained samplers into the checkout as version 1, and evaluates them there.

python .ci/release_samplers.py TRAINED [NAME …]

TRAINED is a folder of published models. Without a NAME, it must hold every shipped one; the newest
version of each is taken. Nothing is replaced before all of them are found and intact.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from tfgen.errors import TfgenError, UsageError
from tfgen.publishing import versions
from tfgen.system.atomic import fresh_folder, move_into_place

SHIPPED = Path(__file__).resolve().parents[1] / "saved_models"
# Thousands of samples of the deep posterior would take hours.
IMPORTANCE_SAMPLES = {"vae-hierarchical": 100}


def newest(name: str, trained: Path) -> Path:
    """The newest version of a shipped name in a folder.

    Raises:
        TfgenError: the name is not shipped, or the folder has no intact version of it.
    """
    numbers = versions.version_numbers(trained / name)
    if not numbers or not (SHIPPED / name / "1").is_dir():
        raise UsageError(f"{trained} has no version of {name}, or {name} is not shipped")
    versions.verify(trained / name / str(numbers[-1]))
    return trained / name / str(numbers[-1])


def main(trained: Path, names: list[str]) -> None:
    """Replace all versions, then evaluate the samplers with the new classifier.

    Raises:
        TfgenError: a version is missing or damaged; then nothing is replaced.
    """
    names = names or sorted(path.parent.name for path in SHIPPED.glob("*/1"))
    for name, path in {name: newest(name, trained) for name in names}.items():
        with fresh_folder(SHIPPED / name, "release") as folder:
            shutil.copytree(path, folder / "1")
            move_into_place(folder / "1", SHIPPED / name / "1", overwrite=True)
    for name in [name for name in names if name != "classifier"]:
        version = SHIPPED / name / "1"
        flags = ["--out", version / "manifest.json", "--classifier", SHIPPED / "classifier" / "1"]
        flags += ["--importance-samples", IMPORTANCE_SAMPLES.get(name, 5000)]
        command = [sys.executable, "-m", "tfgen", "evaluate", version, *flags]
        subprocess.run([str(word) for word in command], check=True)


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except TfgenError as error:
        sys.exit(f"error: {error}")
