"""The report of sample.py: all numbers for JSON, and a table for the terminal."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from train_report import MAX_OTHERS, environment

# What is compared: a published version, its peer in eager PyTorch, and under `torch.compile`.
SIDES = ("export", "eager", "compiled")


def describe(
    cells: Sequence[Any],
    products: list[float],
    smallest: float,
    run: dict[str, Any],
) -> dict[str, Any]:
    """All numbers of the run, with what they depend on, as JSON takes them.

    Args:
        cells: each a `sample.Cell`.
        products: rates of the matrix product [FLOP/s].
        smallest: seconds of the smallest call of a `tf.function`.
        run: numbers of rounds and turns, and the least seconds of a measurement.
    """
    product = statistics.median(products)
    return {
        **environment(),
        "run": run,
        "product_flops_per_second": products,
        "smallest_call_seconds": smallest,
        "cells": [{**asdict(cell), "summary": cell.summary(product, smallest)} for cell in cells],
        "void": max(share for cell in cells for share in cell.others) > MAX_OTHERS,
    }


def print_report(report: dict[str, Any]) -> None:
    """The medians as a table."""
    machine, versions = report["machine"], report["versions"]
    product = statistics.median(report["product_flops_per_second"])
    print(
        f"\n{machine['cpu']}, {machine['cores']} cores; product {product / 1e9:.1f} GFLOP/s\n"
        f"tensorflow {versions['tensorflow']}, keras {versions['keras']}, "
        f"torch {versions['torch']}\n"
        f"images/s, medians of {report['run']['rounds']} rounds; a ratio above 1: the export is "
        "faster\n"
    )
    print(
        "| export | batch | export | eager | compiled | export / eager | export / compiled "
        "| % of the product's rate: export | eager | compiled | MFLOP an image | compilation [s] |"
    )
    print("|" + "---|" * 12)
    for cell in report["cells"]:
        summary = cell["summary"]
        numbers = [
            *(f"{summary['images_per_second'][side]:.1f}" for side in SIDES),
            *(f"{summary['export_to'][side]:.2f}" for side in SIDES[1:]),
            *(f"{summary['percent_of_floor'][side]:.1f}" for side in SIDES),
            f"{cell['flops'] / 1e6:.2f}",
            f"{summary['compile_seconds']:.1f}",
        ]
        print(f"| {cell['name']} | {cell['batch']} | {' | '.join(numbers)} |")
    print()
    for cell in report["cells"]:
        texts = [
            f"{side} {agreed['equal']:.4%} of the pixels within half a level, "
            f"largest {agreed['largest']:.1e}"
            for side, agreed in cell["agreement"].items()
        ]
        print(f"{cell['name']} batch {cell['batch']}: {'; '.join(texts)}")
        if cell["batch"] == 1:
            print(_single(cell, report["smallest_call_seconds"]))
    if report["void"]:
        worst = max(share for cell in report["cells"] for share in cell["others"])
        print(
            f"\nvoid: other processes took up to {worst:.0%} of the cores; "
            "run it again on a quiet machine"
        )


def _single(cell: dict[str, Any], smallest: float) -> str:
    """The time of a call for one image, beside that of PyTorch and of the smallest call."""
    calls = {side: 1e6 * seconds for side, seconds in cell["summary"]["call_seconds"].items()}
    peer, ratio = min(calls[side] for side in SIDES[1:]), cell["summary"]["call_ratio"]
    return (
        f"{cell['name']} one image: {calls['export']:.0f} µs; PyTorch's fastest {peer:.0f} µs, and "
        f"the smallest call {1e6 * smallest:.0f} µs: {ratio:.2f} times their sum"
    )
