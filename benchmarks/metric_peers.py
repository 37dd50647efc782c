"""tfgen's metrics beside those of torch-fidelity and prdc, on the same features.

    pip install torch torchvision torch-fidelity==0.4.0 prdc==0.2
    python benchmarks/metric_peers.py samples/ mnist
    python benchmarks/metric_peers.py samples.npz others/

Both arguments are a folder of PNG files of one size, an NPZ file with `images`, or the name of a
data set, whose test images are taken. Of the larger set, the first images are taken, as many as the
smaller one has.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from prdc import compute_prdc
from torch_fidelity import metric_fid, metric_kid

import tfgen
from tfgen.evaluation.coverage import NEIGHBOURS, coverage
from tfgen.evaluation.distances import fid, kid
from tfgen.evaluation.features import RandomNetwork


def read(source: str, data_dir: Path | None) -> np.ndarray:
    """Images `uint8[N, H, W, C]` of a folder, of an NPZ file or of a data set's test split."""
    path = Path(source)
    if path.is_dir():
        images = np.stack([np.asarray(Image.open(file)) for file in sorted(path.glob("*.png"))])
        return images if images.ndim == 4 else images[..., None]
    if path.is_file():
        with np.load(path) as stored:
            images = stored["images"]
        return images if images.dtype == np.uint8 else np.round(255 * images).astype(np.uint8)
    return tfgen.load_data(source, data_dir).test.images


def peers(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """The metrics of torch-fidelity and prdc."""
    samples, real = samples.astype(np.float64), real.astype(np.float64)
    moments = [
        metric_fid.fid_features_to_statistics(torch.from_numpy(part)) for part in (samples, real)
    ]
    distance = metric_fid.fid_statistics_to_metric(*moments, verbose=False)
    # Of the first images: the subsets of torch-fidelity's KID are drawn at random.
    kernel = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_coef0": 1}
    return {
        "fid": distance[metric_fid.KEY_METRIC_FID],
        "kid": float(metric_kid.kernel_mmd(samples[:1000], real[:1000], **kernel)),
        **compute_prdc(real_features=real, fake_features=samples, nearest_k=NEIGHBOURS),
    }


def main() -> None:
    """Prints both values of each metric, and their difference."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("samples")
    parser.add_argument("real")
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    sets = [read(source, arguments.data_dir) for source in (arguments.samples, arguments.real)]
    n = min(map(len, sets))
    network = RandomNetwork(n)
    samples, real = (network.extract(images[:n]).features for images in sets)
    own = {
        "fid": fid(samples, real),
        "kid": kid(samples[:1000], real[:1000]).value,
        **coverage(samples, real)._asdict(),
    }
    others = peers(samples, real)
    print(f"n = {n}, {samples.shape[1]} features of the random network\n")
    print("| metric | tfgen | torch-fidelity, prdc | difference |\n|---|---:|---:|---:|")
    for name, value in own.items():
        difference = abs(value - others[name])
        print(f"| {name} | {value:.9g} | {others[name]:.9g} | {difference:.1e} |")


if __name__ == "__main__":
    main()
