"""`--help` of every command."""

from pathlib import Path

import pytest

from tests import commands

pytestmark = pytest.mark.newest


@pytest.mark.parametrize(
    ("verb", "argv", "told"),
    [
        ("train", ["--help"], "one of vae"),
        ("train", ["vae", "--help"], "--latent-dim"),
        (
            "train",
            ["vae", "--preset", "mlp-2d", "-h"],
            "dimensions of the latent space (default: 2)",
        ),
        ("sample", ["--help"], "--manifold"),
        ("data", ["--help"], "SOURCE"),
        ("export", ["--help"], "--weights {best,last}"),
        ("evaluate", ["--help"], "--importance-samples"),
        ("compare", ["--help"], "comparison.png"),
    ],
)
def test_help_imports_no_tensorflow(verb: str, argv: list[str], told: str, tmp_path: Path) -> None:
    code = (
        f"import sys; from {commands.PACKAGE}.{verb} import main; assert main({argv!r}) == 0; "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'matplotlib')))"
    )
    done = commands.python(["-c", code], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert told in " ".join(done.stdout.split())
