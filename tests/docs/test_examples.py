"""The examples run, in small, and what they count is right."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfgen
from tests.conftest import HAS_16_BITS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ring() -> ModuleType:
    return example("ring")


def test_two_moons_prints_a_density_that_sums_to_one_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "moons.png"
    two_moons = example("two_moons")
    # After few steps the density is still as wide as the prior, so that a coarser grid is enough.
    monkeypatch.setattr(two_moons, "STEP", 0.04)
    monkeypatch.setattr(
        two_moons, "Flow", lambda **fields: tfgen.Flow(**{**fields, "couplings": 2})
    )
    two_moons.main(["--steps", "30", "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    (total,) = (
        float(line.split()[-1]) for line in lines if line.startswith("sum of p over the grid")
    )
    assert total == pytest.approx(1, abs=0.01)
    with Image.open(out) as picture:
        assert picture.format == "PNG" and min(picture.size) > 300


def test_all_samples_on_one_mode(ring: ModuleType) -> None:
    assert ring.captured(np.tile(ring.CENTRES[3], (1000, 1))) == (1, 1.0)


def test_the_data_holds_all_modes(ring: ModuleType) -> None:
    modes, quality = ring.captured(points := ring.draw(20_000, seed=0))
    assert modes == 8 and points.dtype == np.float32
    # Within three deviations in the plane: 1 − exp(−9/2); four standard errors of 20 000 draws.
    expected = 1 - np.exp(-4.5)
    assert quality == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 20_000))


def test_ring_prints_and_draws(
    ring: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    ring.main(["--seeds", "1", "--steps", "6", "--out", str(tmp_path / "ring.png")])
    lines = capsys.readouterr().out.splitlines()
    for loss in ("non_saturating", "wasserstein"):
        (line,) = (line for line in lines if line.startswith(f"{loss} "))
        _, seed, modes, quality, *_ = line.split()
        assert seed == "0" and 0 <= int(modes) <= 8 and 0 <= float(quality.rstrip("%")) <= 100
    assert (
        any("6 steps" in line for line in lines) and lines[-1] == f"wrote {tmp_path / 'ring.png'}"
    )
    with Image.open(tmp_path / "ring.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 300


def test_reproduction_continues_and_collects_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    reproduce = example("reproduce")
    ran: list[list[str]] = []

    def run(words: list[str]) -> int:
        ran.append([Path(words[0]).name, *words[1:]])
        if words[0].endswith("train"):
            folder = Path(words[words.index("--run-dir") + 1])
            (folder / "figures").mkdir(parents=True, exist_ok=True)
            (folder / "config.json").touch()
            for index, name in enumerate(
                ["curves", "manifold", "samples-20", "samples-0", "samples-100"]
            ):
                Image.new("RGB", (4 + index, 5), (50 * index, 0, 0)).save(
                    folder / "figures" / f"{name}.png"
                )
        return 3 if len(ran) == 5 else 0

    def table(runs: list[str], out: Path) -> int:
        tables.append((runs, out))
        return 0

    tables: list[tuple[list[str], Path]] = []
    monkeypatch.setattr(reproduce, "run", run)
    monkeypatch.setattr(reproduce, "closing_table", table)
    monkeypatch.setattr(reproduce.tfgen, "load", lambda path: tfgen.GAN(generator_hidden=(8,)))
    assert reproduce.main(["--to", str(tmp_path)]) == 3
    assert ran[4][:4] == ["tfgen-train", "flow", "--preset", "mlp"]
    assert reproduce.main(["--to", str(tmp_path)]) == 0
    # The step that failed is resumed, the steps before it are not repeated.
    assert ran[5] == [*ran[4], "--resume"]
    names = [" ".join(words).removesuffix(" --resume") for words in ran]
    assert len(names) - 1 == len(set(names))
    runs = {name for words in ran for name in words if name.startswith(str(tmp_path / "runs"))}
    assert {Path(name).name for name in runs} > {
        f"{k}-mlp-{seed}" for k in ("vae", "gan", "flow") for seed in range(3)
    }
    assert ran[-1][0] == "tfgen-compare" and set(ran[-1]) >= runs - {
        str(tmp_path / "runs" / "vae-mlp-2d-0")
    }
    ((evaluated, out),) = tables
    assert set(evaluated) == runs - {str(tmp_path / "runs" / "vae-mlp-2d-0")}
    assert out == tmp_path / "closing-table.md"
    with Image.open(tmp_path / "figures" / "figure-2.png") as strip:
        # Before training, halfway, after training: in the order of the epochs, not of the letters.
        assert strip.size == (7 + 6 + 8, 5)
        assert [strip.getpixel((x, 0))[0] for x in (0, 8, 20)] == [150, 100, 200]
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"figure-{k}.png" for k in range(1, 9)
    }
    assert "figures" in capsys.readouterr().out.splitlines()[-1]
    # The steps that are done are known wherever the folder is moved to.
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert reproduce.main(["--to", str(moved), "--dry-run"]) == 0
    assert capsys.readouterr().out == "\n"


def test_closing_table_and_claims_are_those_of_the_document(
    capsys: pytest.CaptureFixture,
) -> None:
    evaluations = sorted((ROOT / "docs" / "evaluations").glob("*.json"))
    example("closing_table").main([*map(str, evaluations)])
    table, _, claims = capsys.readouterr().out.strip().split("\n\n")
    document = (ROOT / "docs" / "reproduction.md").read_text()
    for part in (table, claims):
        assert f"\n\n{part}\n\n" in document


def test_a_path_ends_at_the_sample() -> None:
    fields = {"image_shape": (4, 5, 1), "architecture": "dense", "hidden": (8,), "num_classes": 3}
    model = tfgen.FlowMatching(**fields, steps=32)
    for weight in model.trainable_variables:
        weight.assign_add(np.random.default_rng(1).normal(0, 0.1, weight.shape))
    images = example("paths").paths(model, 3, seed=5)
    assert images.shape == (3, 2, 9, 4, 5, 1)
    np.testing.assert_array_equal(images[:, 0, -1], images[:, 1, -1])
    # Eight times four steps of the solver, as of the sample.
    np.testing.assert_allclose(images[:, 0, -1], model.sample(3, seed=5), atol=1e-5)


@pytest.mark.skipif(not HAS_16_BITS, reason="oneDNN has no instructions for bfloat16 here")
def test_a_step_of_muon_has_singular_values_near_one() -> None:
    for shape in ((72, 8), (8, 72)):
        matrix = np.random.default_rng(0).normal(size=shape).astype("float32")
        step = example("muon").orthogonal(tf.constant(matrix))
        values = np.linalg.svd(step, compute_uv=False)
        # Five steps from the range 0.1…1 end within 0.68…1.13; bfloat16 rounds.
        assert values.min() > 0.6 and values.max() < 1.25
