"""Compares what training on several hosts sends with what it computes.

For each preset, it traces a training step and prints three things: the bytes of the gradients,
which all hosts sum in each step; the arithmetic of an image; and the smallest number of images on
each host with which training keeps 90 % of its speed.

    python benchmarks/traffic.py
    python benchmarks/traffic.py --side 64 --hosts 8 --flops 1e12 3e13

A ring sends 2 (W - 1) / W times the bytes of the gradients from each of W hosts (Patarasuk & Yuan
2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations"). A host is assumed to
send only after it has computed. With `--loopback` it measures the sum of such gradients over two
processes of this machine.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kill_workers import environments, free_ports
from tfgen.cli._command import run_command
from tfgen.cli._flags import Parser

from tfgen import registry
from tfgen.errors import UsageError, WorkError
from tfgen.settings.training import RunConfig, TrainingOptions

PROG = "traffic"
EFFICIENCY = 0.9
# Usable rate of a link [bytes/s], by its name.
LINKS = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 1.25e10}
COLOURS = 3
# Sums that are timed, and the first ones, which are not.
SUMS, FIRST_SUMS = 20, 3
PROCESSES = 2


class Traffic(NamedTuple):
    """What a preset sends and computes.

    Attributes:
        name: family and preset.
        batch: images of the preset's batch.
        gradients: bytes of all gradients of a step.
        flops: arithmetic of the matrix products and convolutions of a step, for one image.
    """

    name: str
    batch: int
    gradients: float
    flops: float

    def images(self, hosts: int, link: float, speed: float) -> int:
        """The least number of images a host in a step that keeps `EFFICIENCY` of the speed.

        Args:
            hosts: number of hosts, W.
            link: rate of a host's link [bytes/s].
            speed: rate at which a host computes [FLOP/s].
        """
        sending = 2 * (hosts - 1) / hosts * self.gradients / link
        computing = sending * EFFICIENCY / (1 - EFFICIENCY)
        return math.ceil(computing * speed / self.flops)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table, or what `--loopback` measures; returns the exit status."""
    return run_command(PROG, _body, argv)


def _body(argv: list[str]) -> None:
    arguments = parse(argv)
    if arguments.worker:
        worker(arguments)
    elif arguments.loopback:
        print_loopback(arguments)
    else:
        print_table(arguments)


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = Parser(PROG, str(__doc__).partition("\n")[0])
    parser.add_argument("presets", nargs="*", metavar="FAMILY/PRESET", help="default: all")
    parser.add_argument("--side", type=int, help="images in colour, of this size (default: MNIST)")
    parser.add_argument("--hosts", type=int, default=2, help="number of hosts (default: 2)")
    parser.add_argument(
        "--flops",
        type=float,
        nargs="+",
        default=[1e11, 1e13],
        help="rates at which a host computes [FLOP/s] (default: 1e11 1e13)",
    )
    parser.add_argument("--loopback", action="store_true", help="measure the sum on this machine")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.hosts < 2:
        raise UsageError(f"--hosts {arguments.hosts} sends nothing; the least is 2")
    return arguments


def configurations(arguments: argparse.Namespace) -> Iterator[RunConfig]:
    """The presets that were asked for, for images of the size that was asked for."""
    from dataclasses import replace

    names = arguments.presets or [
        f"{family.name}/{preset}" for family in registry.families() for preset in family.presets
    ]
    for name in names:
        family, _, preset = name.partition("/")
        entry = registry.family(family)
        chosen = entry.preset(preset)
        size = {}
        if arguments.side:
            size = {"image_shape": (arguments.side, arguments.side, COLOURS)}
        classes = {} if entry.generative else {"num_classes": 10}
        model = replace(chosen.model, **size, **classes)
        yield RunConfig(family, model, TrainingOptions(preset=preset, **chosen.training()))


# --- arithmetic -------------------------------------------------------------------------


def print_table(arguments: argparse.Namespace) -> None:
    """The table in Markdown."""
    kinds = [(link, speed) for speed in arguments.flops for link in LINKS]
    names = [f"{link}, {speed / 1e12:g} TFLOP/s" for link, speed in kinds]
    print("| preset | batch | MB a step | MFLOP an image |" + "".join(f" {n} |" for n in names))
    print("|---|---:|---:|---:|" + "---:|" * len(names))
    for config in configurations(arguments):
        traffic = count(config)
        images = [traffic.images(arguments.hosts, LINKS[link], speed) for link, speed in kinds]
        print(
            f"| {traffic.name} | {traffic.batch} | {traffic.gradients / 1e6:.2f} | "
            f"{traffic.flops / 1e6:.2f} |" + "".join(f" {number:,} |" for number in images),
            flush=True,
        )


def count(config: RunConfig) -> Traffic:
    """What a preset sends and computes, from the graph of a training step."""
    from tfgen.training.plan import compiled_model
    from tfgen.training.tracing import tensor_bytes, trace_step, without_memory

    batch = config.options.batch_size
    with without_memory():
        model = compiled_model(config, None, steps=1)
    graph = trace_step(model, batch, training=True)
    # A GAN may move its generator, or penalize, in every n-th step only.
    rare = [getattr(config.model, name, 1) for name in ("critic_steps", "penalty_every")]
    return Traffic(
        f"{config.family} {config.options.preset}",
        batch,
        float(sum(map(tensor_bytes, model.trainable_variables))),
        graph_flops(graph, 1 / max(rare)) / batch,
    )


def graph_flops(graph: Any, part: float = 1.0) -> float:
    """FLOP of the matrix products and convolutions of a graph, a multiply-add being two.

    Args:
        graph: a graph whose shapes are known.
        part: part of the runs in which a condition in the graph is true.
    """
    total = 0.0
    for operation in graph.get_operations():
        if operation.type in ("If", "StatelessIf"):
            branches = [graph_flops(_function(graph, operation, name)) for name in ("then", "else")]
            total += part * branches[0] + (1 - part) * branches[1]
        elif operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            total += graph_flops(_function(graph, operation, ""), part)
        else:
            total += operation_flops(operation)
    return total


def _function(graph: Any, operation: Any, branch: str) -> Any:
    name = operation.get_attr(f"{branch}_branch" if branch else "f").name
    while not hasattr(graph, "_get_function") or graph._get_function(name) is None:
        graph = graph.outer_graph
    return graph._get_function(name).graph


def operation_flops(operation: Any) -> int:
    """FLOP of an operation; 0 if it is neither a matrix product nor a convolution."""
    elements = [tensor.shape.num_elements() for tensor in operation.inputs]
    kind = operation.type
    if kind in ("MatMul", "BatchMatMulV2"):
        transposed = operation.get_attr("transpose_a" if kind == "MatMul" else "adj_x")
        inner = operation.inputs[0].shape[-2 if transposed else -1]
        return int(2 * operation.outputs[0].shape.num_elements() * inner)
    if kind in ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"):
        # All three multiply each output of the convolution by one filter.
        outputs = operation.outputs[0] if kind == "Conv2D" else operation.inputs[2]
        filters = {
            "Conv2D": operation.inputs[1],
            "Conv2DBackpropInput": operation.inputs[1],
            "Conv2DBackpropFilter": operation.outputs[0],
        }[kind]
        return int(2 * outputs.shape.num_elements() * math.prod(filters.shape[:-1]))
    if "Conv" in kind or "MatMul" in kind or kind == "While":
        raise WorkError(f"the arithmetic of {kind} is not known: {elements}")
    return 0


# --- loopback ---------------------------------------------------------------------------


def print_loopback(arguments: argparse.Namespace) -> None:
    """The time in which two processes sum the gradients of each preset, and the rate."""
    print("| preset | MB a step | sum [ms] | GB/s |\n|---|---:|---:|---:|")
    for config in configurations(arguments):
        name = f"{config.family}/{config.options.preset}"
        options = [name, *(["--side", str(arguments.side)] if arguments.side else [])]
        chief, *_ = processes(options)
        # A ring over two processes sends as many bytes as there are.
        rate = chief["bytes"] / chief["seconds"] / 1e9
        print(
            f"| {name.replace('/', ' ')} | {chief['bytes'] / 1e6:.2f} | "
            f"{1e3 * chief['seconds']:.1f} | {rate:.2f} |",
            flush=True,
        )


def processes(options: list[str]) -> list[dict[str, float]]:
    """What `worker` prints, in each of two processes.

    Raises:
        WorkError: a process failed.
    """
    words = [sys.executable, __file__, *options, "--worker"]
    started = [
        subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for environment in environments(free_ports(PROCESSES))
    ]
    answers = []
    for process in started:
        output, errors = process.communicate()
        if process.returncode:
            raise WorkError(f"a process of {options[0]} failed: {errors[-2000:]}")
        answers.append(json.loads(output.splitlines()[-1]))
    return answers


def worker(arguments: argparse.Namespace) -> None:
    """Times a sum of gradients in this process, and prints it as JSON."""
    import numpy as np

    from tfgen.training.plan import compiled_model
    from tfgen.training.strategy import make_strategy

    strategy = make_strategy("multiworker")
    (config,) = configurations(arguments)
    variables = compiled_model(config, strategy, 1).trainable_variables
    gradients = [np.zeros(variable.shape, np.float32) for variable in variables]
    size = sum(gradient.nbytes for gradient in gradients)
    print(json.dumps({"bytes": size, "seconds": time_sum(strategy, gradients)}))


def time_sum(strategy: Any, gradients: list[Any]) -> float:
    """The median time in which the processes sum such gradients [s]."""
    import tensorflow as tf

    @tf.function
    def add() -> tf.Tensor:
        def replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            totals = context.all_reduce("sum", [tf.constant(array) for array in gradients])
            return tf.add_n([tf.reduce_sum(total) for total in totals])

        return strategy.run(replica)

    seconds = []
    for _ in range(FIRST_SUMS + SUMS):
        start = time.perf_counter()
        add().numpy()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[FIRST_SUMS:])


if __name__ == "__main__":
    raise SystemExit(main())
