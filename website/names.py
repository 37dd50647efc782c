"""The public names of tfgen.

What is public is read from the source without importing it, so that a build needs no TensorFlow.
"""

import ast
import functools
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ALL = "*"
# The public names of each public submodule. ALL: those of its `__all__`, or else what a package
# imports `as` itself, or what a module defines; a dotted name is that of a module within it.
SUBMODULES: dict[str, tuple[str, ...]] = {
    "bijectors": (ALL,),
    "callbacks": (ALL,),
    "data": (
        ALL,
        "shards.read_shards",
        "writing.write_prepared",
        "writing.write_batches",
    ),
    "errors": (ALL,),
    "evaluation": (
        *(f"distances.{name}" for name in ("Moments", "moments", "frechet_distance", "fid", "kid")),
        *(f"coverage.{name}" for name in ("Coverage", "coverage")),
        *(f"modes.{name}" for name in ("ModeCounts", "captured_modes", "expected_modes")),
        *(f"likelihood.{name}" for name in ("Bounds", "dequantized_log_prob", "bits_per_dim")),
        "likelihood.active_units",
        "sources.density_of",
        "features.Extractor",
        "own_network.choose_extractor",
        "metrics.sample_metrics",
        "reading.read_evaluation",
    ),
    "figures": (ALL,),
    "models": (
        *(f"base.{name}" for name in ("Curve", "Signatures")),
        *(f"preprocessing.{name}" for name in ("Preprocessing", "check_images")),
        *(f"vae.bounds.{name}" for name in ("Terms", "NormalPosterior")),
        "vae.likelihoods.Bernoulli",
        "vae.logistic_mixture.LogisticMixture",
        *(f"gan.losses.{name}" for name in ("AdversarialLoss", "classifier_loss")),
        *(f"gan.losses.{name}" for name in ("non_saturating_loss", "minimax_loss")),
        "gan.losses.least_squares_discriminator_loss",
        "gan.losses.least_squares_generator_loss",
        "gan.losses.hinge_discriminator_loss",
        "gan.losses.critic_generator_loss",
        "gan.losses.wasserstein_critic_loss",
        "gan.losses.relativistic_discriminator_loss",
        "gan.losses.relativistic_generator_loss",
        "gan.losses.gradient_penalty",
        "flow.dequantization.VariationalDequantization",
        "flow.steps.FlowStep",
    ),
    "nn": (
        *(f"average.{name}" for name in ("MovingAverage", "trained_weights")),
        *(f"blocks.{name}" for name in ("dense_network", "make_layer", "make_input")),
        "blocks.seed_of_layer",
        "overrides.BatchNormalization",
        *(f"layers.{name}" for name in ("Dropout", "GatedResidual")),
        *(f"layers.{name}" for name in ("Upsampling", "SpectralNormalization")),
        "optimizers.Schedule",
        "replicas.cond",
        "cores.share_cores",
        "cores.speedups",
    ),
    "publishing": (
        "opening.load_run",
        "opening.exported_model",
        "export.publish",
        "formats.convert",
        "versions.shipped_folder",
        "served.ServedSampler",
        "rest.Rest",
        "grpc.Grpc",
    ),
    "random": (ALL,),
    "registry": (ALL, "Family", "Preset"),
    "sampling": (ALL,),
    "settings": (
        "fields.option",
        "fields.Config",
        "model.ModelConfig",
        "training.TrainingOptions",
    ),
    "system": (),
    "testing": ("checks", "contract.Check", "contract.check", "contract.images_of"),
    "training": (),
}


def module_file(module: str) -> Path:
    """The source of a module of tfgen."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def parsed(module: str) -> ast.Module:
    """The syntax tree of a module of tfgen."""
    return ast.parse(module_file(module).read_text(encoding="utf-8"))


def assigned_value(module: str, name: str) -> Any:
    """The literal that a module assigns to a name; None if there is none."""
    for node in parsed(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    return None


def top_level_homes() -> dict[str, str]:
    """The names that `tfgen` itself offers, with the module of each."""
    return dict(assigned_value("tfgen", "_HOMES"))


def defined_names(module: str) -> list[str]:
    """The public functions and classes of a module, in the order of its source."""
    if (names := assigned_value(module, "__all__")) is not None:
        return list(names)
    if module_file(module).name == "__init__.py":
        imports = [node for node in parsed(module).body if isinstance(node, ast.ImportFrom)]
        aliases = [alias for node in imports for alias in node.names]
        return [alias.name for alias in aliases if alias.asname == alias.name]
    definitions = (ast.FunctionDef, ast.ClassDef)
    return [
        node.name
        for node in parsed(module).body
        if isinstance(node, definitions) and not node.name.startswith("_")
    ]


def names_of(submodule: str) -> list[str]:
    """The public names of a submodule, each with its dotted path.

    A name that `tfgen` itself offers has its page there alone.
    """
    homes = {f"{home}.{name}" for name, home in top_level_homes().items()}
    module = f"tfgen.{submodule}"
    names: list[str] = []
    for entry in SUBMODULES[submodule]:
        paths = defined_names(module) if entry == ALL else [entry]
        names += [f"{module}.{path}" for path in paths]
    return [name for name in dict.fromkeys(names) if name not in homes]


def public_names() -> dict[str, list[str]]:
    """Every public name by the module that presents it: `tfgen`, `tfgen.bijectors`, …."""
    top_level = [f"tfgen.{name}" for name in top_level_homes()]
    return {"tfgen": top_level, **{f"tfgen.{part}": names_of(part) for part in SUBMODULES}}
