"""No weight moves, and no step is counted, before the last read of the weight or the counter.

Otherwise a race would decide what the step computes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tensorflow.python.eager import context

import tfgen

SHAPE = (8, 8, 1)
NETWORKS = {"latent_dim": 3, "generator_hidden": (8, 8), "discriminator_hidden": (8, 8)}
MULTISCALE = {"architecture": "multiscale", "scale_steps": (1,), "scale_channels": (4,)}


def gan(loss: str, **arguments: Any) -> tfgen.GAN:
    return tfgen.GAN(image_shape=SHAPE, loss=loss, **NETWORKS, **arguments)


MODELS: dict[str, Callable[[], Any]] = {
    "wasserstein, critic steps": lambda: gan("wasserstein", critic_steps=2, ema_decay=0.9),
    "residual gan": lambda: gan(
        "relativistic", architecture="residual", channels=2, r1=0.1, r2=0.1, penalty_every=2
    ),
    "vae with metrics": lambda: tfgen.VAE(
        image_shape=SHAPE, latent_dim=2, hidden=(8,), kl_warmup_steps=10, beta=2.0
    ),
    "multiscale flow": lambda: tfgen.Flow(
        image_shape=SHAPE, dequantization="variational", components=2, blocks=1, **MULTISCALE
    ),
}


def executed_graphs(model: Any, images: np.ndarray) -> list[Any]:
    """The graphs of a training step as they run: after all that TensorFlow optimizes."""
    context.enable_run_metadata()
    try:
        model.train_on_batch(images)
        return list(context.export_run_metadata().partition_graphs)
    finally:
        context.disable_run_metadata()


class Order:
    """Which operation of a graph comes after which."""

    def __init__(self, graph: Any):
        self.nodes = {node.name: node for node in graph.node}

    def variable(self, node: Any) -> str:
        """The resource that is an operation's first input, through branches."""
        while node.op not in ("_Arg", "VarHandleOp"):
            node = self.nodes[node.input[0].split(":")[0]]
        name: str = node.name
        return name

    def of_kind(self, kind: str) -> list[Any]:
        return [node for node in self.nodes.values() if node.op == kind]

    def before(self, node: Any) -> set[str]:
        """All that have ended when an operation begins."""
        names: set[str] = set()
        queue = [node.name]
        while queue:
            inputs = {name.lstrip("^").split(":")[0] for name in self.nodes[queue.pop()].input}
            queue += inputs - names
            names |= inputs
        return names


def exclude(*nodes: Any) -> bool:
    """Whether of two operations at most one runs, as they are of a condition's two branches."""
    return {"then", "else"} <= {part for node in nodes for part in node.name.split("/")}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_weights_move_after_all_reads(name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, *SHAPE)).astype(np.uint8)
    model = MODELS[name]()
    metrics = {"metrics": ["mse"]} if "with metrics" in name else {}
    model.compile(**model.default_optimizers(1e-3), **metrics)
    moved: set[str] = set()
    for order in map(Order, executed_graphs(model, images)):
        moved |= {order.variable(update) for update in order.of_kind("ResourceApplyAdam")}
        for update in order.of_kind("ResourceApplyAdam") + order.of_kind("AssignVariableOp"):
            before = order.before(update)
            for read in order.of_kind("ReadVariableOp"):
                if order.variable(read) != order.variable(update) or exclude(read, update):
                    continue
                apart = update.name in order.before(read) or read.name in before
                assert apart, f"{update.name} may overtake {read.name}"
    # Each branch of a condition updates the variables by operations of its own.
    assert len(moved) == len(model.trainable_variables)
