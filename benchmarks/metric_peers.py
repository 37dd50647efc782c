"""tfgen's metrics beside those of torch-fidelity and prdc, on the same features.

    pip install torch torchvision torch-fidelity==0.4.0 prdc==0.2
    python benchmarks/metric_peers.py samples/ mnist
    python benchmarks/metric_peers.py samples.npz others/ --size 32

Both arguments are a folder of pictures, an NPZ file, or the name of a data set, whose test images
are taken. Of the larger set, the first images are taken, as many as the smaller one has.
"""

import argparse
from pathlib import Path

import numpy as np

import tfgen
from tfgen.evaluation.coverage import NEIGHBOURS, coverage
from tfgen.evaluation.distances import fid, kernel_mmd, kid
from tfgen.evaluation.features import RandomNetwork
from tfgen.evaluation.subject import image_source, open_images
from tfgen.publishing.artifacts import identify, kind_at


def read(what: str, shape: tuple[int, int, int], data_dir: Path | None) -> np.ndarray:
    """Images `uint8[N, H, W, C]` of a folder, of an NPZ file or of a data set's test split."""
    if kind_at(Path(what)) not in ("npz", "folder"):
        return tfgen.load_data(what, data_dir).test.images
    return open_images(Path(what), image_source(identify(what)), shape, 10**9, 0).images


def peers(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """The metrics of torch-fidelity and prdc."""
    import torch
    from prdc import compute_prdc
    from torch_fidelity import metric_fid, metric_kid

    statistics = [
        metric_fid.fid_features_to_statistics(torch.from_numpy(part.astype(np.float64)))
        for part in (samples, real)
    ]
    result = dict(metric_fid.fid_statistics_to_metric(*statistics, verbose=False))
    # Of all images at once: the subsets of torch-fidelity's KID are drawn at random.
    arguments = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_coef0": 1}
    n = min(len(samples), 1000)
    parts = (samples[:n].astype(np.float64), real[:n].astype(np.float64))
    result["kernel_mmd"] = float(metric_kid.kernel_mmd(*parts, **arguments))
    prdc = compute_prdc(
        real_features=real.astype(np.float64),
        fake_features=samples.astype(np.float64),
        nearest_k=NEIGHBOURS,
    )
    return {"fid": result.pop(metric_fid.KEY_METRIC_FID), **result, **prdc}


def main() -> None:
    """Print both values of each metric, and their difference."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("samples")
    parser.add_argument("real")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--size", type=int, default=28, help="of images in files (default: 28)")
    parser.add_argument("--channels", type=int, default=1, help="of images in files (default: 1)")
    arguments = parser.parse_args()
    shape = (arguments.size, arguments.size, arguments.channels)
    sets = [read(what, shape, arguments.data_dir) for what in (arguments.samples, arguments.real)]
    n = min(map(len, sets))
    network = RandomNetwork(n)
    samples, real = (network.extract(images[:n]).features for images in sets)
    own = {
        "fid": fid(samples, real),
        "kernel_mmd": kernel_mmd(samples[:1000], real[:1000]),
        **coverage(samples, real)._asdict(),
    }
    others = peers(samples, real)
    print(f"n = {n}, {samples.shape[1]} features of the random network\n")
    print("| metric | tfgen | torch-fidelity, prdc | difference |\n|---|---:|---:|---:|")
    for name, value in own.items():
        difference = abs(value - others[name])
        print(f"| {name} | {value:.9g} | {others[name]:.9g} | {difference:.1e} |")
    print(f"\nKID over blocks: {kid(samples, real)}")


if __name__ == "__main__":
    main()
