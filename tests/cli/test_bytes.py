"""A VAE of bytes from training to its score of one picture; test_held_out.py evaluates one."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import commands


def test_a_vae_of_bytes_is_trained_and_scores_a_picture(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["--dataset", "tiny", "--data-dir", str(tiny_data)]
    of_bytes = ["--likelihood", "logistic_mixture", "--binarization", "none", "--mixtures", "2"]
    small = ["--preset", "mlp", "--latent-dim", "3", "--hidden", "4"]
    small += ["--epochs", "1", "--batch-size", "200"]
    train = ["vae", *data, *of_bytes, *small, "--run-dir", "run", "--no-publish"]
    assert commands.main("train", train) == 0
    row = json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])
    for prefix in ("", "val_"):
        nats = row[f"{prefix}loss"]
        assert row[f"{prefix}bits_per_dim"] == pytest.approx(nats / (36 * np.log(2)), rel=1e-5)

    Image.fromarray(np.full((6, 6), 77, np.uint8)).save("picture.png")
    score = ["run", "picture.png", "--test-images", "0", "--out", "scores.csv"]
    assert commands.main("score", score) == 0
    (scores,) = csv.DictReader(Path("scores.csv").read_text().splitlines())
    bits = -float(scores["nats"]) / (36 * np.log(2))
    assert float(scores["bits_per_dim"]) == pytest.approx(bits, rel=1e-5)
