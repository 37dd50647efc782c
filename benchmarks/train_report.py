"""The report of train_epoch.py: all numbers for JSON, and a table for the terminal."""

import datetime
import importlib
import os
import platform
from pathlib import Path
from typing import Any

from tfgen import __version__
from tfgen.settings.training import RunConfig
from tfgen.system import machine

# Largest share of the cores that other processes may take. The threads of eager PyTorch wait for
# each other after every operation, so they lose far more than that share.
MAX_OTHERS = 0.1


def describe(config: RunConfig, steps: int, measured: Any, comparison: Any) -> dict[str, Any]:
    """All numbers of the run and what they depend on, for `json.dump`."""
    plan = importlib.import_module("tfgen.training.plan")
    return {
        **environment(),
        "run": {
            "family": config.family,
            "preset": config.options.preset,
            "batch_size": config.options.batch_size,
            "steps_per_epoch": steps,
            "steps_per_execution": plan.STEPS_PER_EXECUTION,
        },
        "measured": {
            "flops_per_epoch": measured.flops_per_epoch,
            "import_seconds": measured.import_seconds,
            "decode_seconds": measured.decode_seconds,
            "first_epoch_seconds": measured.first,
            "epoch_seconds": measured.epochs,
            "others_share": measured.others,
            "last_loss": measured.loss,
            "product_flops_per_second": measured.product_flops,
        },
        "summary": measured.summary(),
        "void": max(measured.others) > MAX_OTHERS,
        "compared": comparison.logged,
        "bounds": {"ratio": comparison.max_ratio, "percent_of_product": comparison.min_percent},
    }


def environment() -> dict[str, Any]:
    """Date, machine and versions, for `json.dump`."""
    torch = importlib.import_module("torch")
    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC",
        "machine": {
            "cpu": cpu_model(),
            "cores": usable_cores(),
            "torch_threads": torch.get_num_threads(),
        },
        "versions": {
            "tfgen": __version__,
            **machine.package_versions(),
            "torch": torch.__version__,
        },
    }


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def print_report(report: dict[str, Any]) -> None:
    """Prints the summary as a table."""
    machine, run, summary, measured = (
        report[key] for key in ("machine", "run", "summary", "measured")
    )
    versions, loss, bounds = report["versions"], measured["last_loss"], report["bounds"]
    logged = report["compared"]
    product = measured["flops_per_epoch"] / summary["floor"]
    percent = summary["percent_of_product"]
    void, worst = report["void"], max(measured["others_share"])
    rows = [
        (
            "tfgen, median epoch",
            f"{summary['tfgen_median']:.3f} s",
            f"{logged} {loss['tfgen']:.2f}",
        ),
        ("peer, median epoch", f"{summary['peer_median']:.3f} s", f"{logged} {loss['peer']:.2f}"),
        (
            "tfgen / peer",
            f"{summary['ratio']:.3f}",
            _verdict(f"≤ {bounds['ratio']}", summary["ratio"] <= bounds["ratio"], void),
        ),
        (
            "least: dense layers alone",
            f"{summary['floor']:.3f} s",
            f"{measured['flops_per_epoch'] / 1e9:.1f} GFLOP at {product / 1e9:.1f} GFLOP/s",
        ),
        (
            "rate, % of the product",
            f"{percent:.1f} %",
            _verdict(
                f"≥ {bounds['percent_of_product']} %", percent >= bounds["percent_of_product"], void
            ),
        ),
        (
            "import",
            f"{summary['import']:.3f} s",
            "TensorFlow, tfgen and the model class, in a fresh process",
        ),
        ("decoding the data", f"{summary['decode']:.3f} s", "all splits"),
        ("tracing and compilation", f"{summary['compile']:.3f} s", "first epoch − median epoch"),
    ]
    print(
        f"\n{run['family']} {run['preset']}, {run['steps_per_epoch']} steps of "
        f"{run['batch_size']} images\n{machine['cpu']}, {machine['cores']} cores\n"
        f"tensorflow {versions['tensorflow']}, keras {versions['keras']}, "
        f"torch {versions['torch']}\n"
    )
    for name, value, note in rows:
        print(f"{name:<26}{value:>10}   {note}")
    if void:
        print(
            f"\nvoid: other processes took up to {worst:.0%} of the cores; "
            "run it again on an idle machine"
        )


def _verdict(bound: str, met: bool, void: bool) -> str:
    return f"bound {bound}: {'void' if void else 'met' if met else 'missed'}"
