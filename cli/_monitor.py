"""The callback by which `tfgen-train` watches the samples of a training."""

import shlex
from typing import Any

from tfgen.errors import UsageError


def sample_monitors(run: Any, console: Any, weights: str | None) -> list[Any]:
    """The callbacks that compare samples with validation images, if the family uses them.

    If the images cannot be compared, prints so: the run then has no best checkpoint. Neither has a
    run that trains on the validation images, but its samples are compared with them.

    Args:
        run: a `tfgen.training.run.Run` that is started.
        console: where warnings are printed.
        weights: the weights to publish, `best` or `last`; None publishes nothing.
    """
    from tfgen.models.generative import SAMPLE_DISTANCE
    from tfgen.system.terminal import print_line

    if run.model.monitor != SAMPLE_DISTANCE or run.is_finished:
        return []
    from tfgen.callbacks import SampleMonitor

    def warn(message: str, best_epoch: int | None) -> None:
        future = "kept and will be published" if weights == "best" else "kept"
        best = f"The best weights so far, of epoch {best_epoch}, are {future}"
        advice = f"then tfgen-export {shlex.quote(str(run.folder.path))} publishes them"
        if not run.options.is_validated:
            best = "A run with --train-on all keeps no best weights"
            advice = "with --keep-every, a new one keeps earlier weights"
        print_line(console, f"warning: {message}. {best}. Ctrl-C stops the run; {advice}")

    validation = run.dataset.validation
    labels = validation.labels if run.model.num_classes else None
    try:
        monitor = SampleMonitor(
            validation.images,
            labels,
            warn=warn,
            earlier=run.folder.read_metrics(),
            held_out=run.options.is_validated,
        )
    except UsageError as error:
        publishing = ", and its last weights are published" if weights == "best" else ""
        print_line(console, f"samples are not compared with validation images: {error}")
        if run.options.is_validated:
            print_line(console, f"so the run has no best checkpoint{publishing}")
        return []
    return [monitor]
