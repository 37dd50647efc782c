"""Wrong uses of the commands: their form, and the arguments that they start from."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.cli.worlds import NAME, World


class Case(NamedTuple):
    """A wrong use: `argv` prepares the world and returns the arguments."""

    id: str
    verb: str
    argv: Callable[[World], list[object]]
    status: int
    message: str


def case(
    verb: str,
    arguments: Callable[[World], list[object]],
    id: str,
    message: str,
    *flags: object,
    prepare: Callable[[World], object] | None = None,
    status: int = 2,
) -> Case:
    """A case whose flags stand last, so that they win; a function gives a flag of the world."""

    def argv(world: World) -> list[object]:
        if prepare is not None:
            prepare(world)
        return [*arguments(world), *(flag(world) if callable(flag) else flag for flag in flags)]

    return Case(id, verb, argv, status, message)


def at(name: str) -> Callable[[World], Path]:
    return lambda world: world.tmp / name


def data_flags(w: World) -> list[object]:
    places = ["--run-dir", w.tmp / "run", "--saved-models", w.tmp / "models"]
    return ["--dataset", "tiny", "--data-dir", w.trained.data, *places]


def vae_flags(w: World) -> list[object]:
    small = ["--hidden", 4, "--latent-dim", 2, "--epochs", 1, "--batch-size", 64]
    return ["vae", "--preset", "mlp", *small, *data_flags(w)]


def resume_flags(w: World) -> list[object]:
    return ["vae", "--resume", "--run-dir", w.tmp / "run", "--saved-models", w.tmp / "models"]


def sample_flags(w: World, name: str = NAME, models: str | None = None) -> list[object]:
    saved_models = w.tmp / models if models else w.trained.saved_models
    return [name, "--saved-models", saved_models, "--out", w.tmp / "out.png"]


bare_train = functools.partial(case, "train", lambda w: [])
train = functools.partial(case, "train", vae_flags)
train_gan = functools.partial(case, "train", lambda w: ["gan", "--preset", "mlp", *data_flags(w)])
resume = functools.partial(case, "train", resume_flags)
bare_sample = functools.partial(case, "sample", lambda w: [])
sample = functools.partial(case, "sample", sample_flags)
sample_copy = functools.partial(case, "sample", lambda w: sample_flags(w, models="models"))
