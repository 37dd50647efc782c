"""Images as what `tfgen-evaluate` judges: pictures, NPZ files, and shards of `tfgen-sample`."""

from typing import Any

from tfgen.errors import UsageError
from tfgen.evaluation.request import DEFAULT_N

from ._data_sets import open_data_set
from ._evaluate_options import EvaluateOptions
from ._metrics import describe_reading


def read_images(what: str, source: Any, options: EvaluateOptions, console: Any) -> tuple[Any, Any]:
    """Images to evaluate, and the data set; says which were resized and skipped.

    Args:
        what: path of the folder or of the NPZ file.
        source: what `find_images` returned for it.
        options: the flags.
        console: where to print.

    Raises:
        UsageError: the request is wrong, or there are no images.
    """
    from tfgen.data import load
    from tfgen.evaluation.images import read_image_set
    from tfgen.evaluation.job import phase
    from tfgen.system.status import status
    from tfgen.system.terminal import print_line

    _check_flags(what, options)
    if options.dataset is None:
        raise UsageError(
            f"{what} holds images; name the data set that they are judged against with --dataset"
        )
    with status("loading the data set"):
        dataset = load(options.dataset, options.data_dir)
    most = min(options.n or DEFAULT_N, len(getattr(dataset, options.split)))
    shape = dataset.image_shape
    with phase(console, "reading images", len(source.files)) as advance:
        images = read_image_set(what, source, shape, most, options.seed, advance)
    for line in describe_reading(images, shape):
        print_line(console, line)
    _check_count(what, images.n, dataset, options)
    return images, dataset


def open_shards(
    what: str, manifest: Any, options: EvaluateOptions, console: Any
) -> tuple[Any, Any]:
    """Shards to evaluate, and the data set; says which metrics are of how many images.

    Args:
        what: path of the folder.
        manifest: what `find_shards` returned for it.
        options: the flags.
        console: where to print.

    Raises:
        UsageError: the request is wrong, or the images are not like those of the data set.
    """
    from tfgen.evaluation import shards
    from tfgen.system.status import status
    from tfgen.system.terminal import count_noun, print_line

    _check_flags(what, options)
    request = manifest.request
    name = f"the model of {what}"
    with status("loading the data set"):
        dataset = open_data_set(options.dataset, options.data_dir, request.training, name)
    most = min(options.n or DEFAULT_N, len(getattr(dataset, options.split)))
    subject = shards.open_shards(what, manifest, most, options.seed)
    subject.check_images(dataset, options.split)
    _check_count(what, request.n, dataset, options)
    parts = count_noun(request.n, "image"), count_noun(request.num_shards, "shard")
    print_line(console, f"{what}: {' in '.join(parts)}")
    return subject, dataset


def _check_flags(what: str, options: EvaluateOptions) -> None:
    if options.version is not None:
        raise UsageError(f"{what} holds images and has no version; leave out --version")
    if not options.samples:
        raise UsageError(f"{what} holds images, which have no likelihood; leave out --no-samples")


def _check_count(what: str, available: int, dataset: Any, options: EvaluateOptions) -> None:
    """Refuse a value of `--n` that there are not enough images for."""
    held_out = len(getattr(dataset, options.split))
    if options.n is not None and min(available, held_out) < options.n:
        raise UsageError(
            f"n = {options.n} is too large; there are {available} images in {what}, and "
            f"{held_out} in the {options.split} split"
        )
