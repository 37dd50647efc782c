"""While versions are published, readers see each as a whole, and none is lost."""

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfgen import VAE
from tfgen.publishing import export, versions
from tfgen.publishing.sampler import Sampler

READERS, WRITERS, VERSIONS_EACH = 2, 2, 4


def publish(source: Path, folder: Path) -> None:
    """Copies a version again and again, file by file, so that there is something to see early."""
    manifest = versions.read_manifest(source)

    def write(target: Path) -> dict[str, Any]:
        for path in sorted(source.rglob("*")):
            place = target / path.relative_to(source)
            if path.is_dir():
                place.mkdir()
            elif path.name != versions.MANIFEST:
                shutil.copyfile(path, place)
                time.sleep(0.02)
        return {"signatures": manifest["signatures"]}

    for _ in range(VERSIONS_EACH):
        versions.write_version(folder, "vae", write)
        time.sleep(0.3)  # lets readers see it


@pytest.mark.slow
def test_readers_see_whole_versions_and_writers_lose_none(tmp_path: Path) -> None:
    model = VAE(image_shape=(4, 4, 1), latent_dim=2, hidden=(4,))
    source = export.publish(model, tmp_path / "source", "vae")
    folder = tmp_path / "models"
    (folder / "vae").mkdir(parents=True)
    shutil.copytree(source, folder / "vae" / "1")
    seeds = np.arange(3, dtype=np.int32)
    expected = Sampler(versions.find("vae", folder)).call("sample", seed=seeds)["images"]
    finished, numbers, errors = threading.Event(), [], []

    def read() -> None:
        while not finished.is_set():
            try:
                sampler = Sampler(versions.find("vae", folder))
                images = sampler.call("sample", seed=seeds)["images"]
                np.testing.assert_array_equal(images, expected)
                numbers.append(sampler.number)
            except Exception as error:
                errors.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    while len(numbers) < READERS and not errors:  # loading for the first time takes longest
        time.sleep(0.01)
    writers = [threading.Thread(target=publish, args=(source, folder)) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    while len(set(numbers)) == 1 and not errors:  # on a busy machine, readers are behind
        time.sleep(0.01)
    finished.set()
    for reader in readers:
        reader.join()
    assert not errors, errors[0]
    assert versions.version_numbers(folder / "vae") == list(range(1, 2 + WRITERS * VERSIONS_EACH))
    assert not [path for path in (folder / "vae").iterdir() if path.name.startswith(".")]
