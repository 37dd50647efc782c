"""While versions are published, readers see each as a whole, and none is lost."""

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests import commands
from tfgen import VAE
from tfgen.publishing import export, versions
from tfgen.publishing.sampler import Sampler

pytestmark = pytest.mark.newest

READERS, WRITERS, VERSIONS_EACH = 4, 2, 10
# A writer copies a version file by file, slowly, so that there is something to see too early.
WRITER = """
import json, shutil, sys, time
from pathlib import Path
from tfgen.publishing import versions

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
manifest = json.loads((source / "manifest.json").read_text())

def write(target):
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir()
        elif path.name != "manifest.json":
            shutil.copyfile(path, place)
            time.sleep(0.02)
    return {key: value for key, value in manifest.items() if key not in ("format", "name", "files")}

for _ in range(int(sys.argv[3])):
    versions.write_version(folder, "vae", write)
    time.sleep(0.3)  # lets readers see it
"""


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
                np.testing.assert_array_equal(
                    sampler.call("sample", seed=seeds)["images"], expected
                )
                numbers.append(sampler.number)
            except Exception as error:
                errors.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    while len(numbers) < READERS and not errors:  # loading for the first time takes longest
        time.sleep(0.01)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(source), str(folder), str(VERSIONS_EACH)],
            cwd=commands.ROOT,
        )
        for _ in range(WRITERS)
    ]
    assert [writer.wait(timeout=commands.PATIENCE) for writer in writers] == [0] * WRITERS
    while len(set(numbers)) == 1 and not errors:  # on a busy machine, readers are behind
        time.sleep(0.01)
    finished.set()
    for reader in readers:
        reader.join()
    assert not errors, errors[0]
    assert versions.version_numbers(folder / "vae") == list(range(1, 2 + WRITERS * VERSIONS_EACH))
    assert not [path for path in (folder / "vae").iterdir() if path.name.startswith(".")]
