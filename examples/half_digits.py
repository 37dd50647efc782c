"""How well models finish half digits: the table of docs/sample.md.

    python examples/half_digits.py vae vae-hierarchical
    python examples/half_digits.py flow-matching --rounds 12 --images 50

The upper half of each test image is known, the lower half is sampled. The table has how often the
classifier still reads the right digit, and how far apart the results of an image are.
"""

import argparse
import time

import numpy as np

import tfgen
from tfgen.publishing.versions import shipped_folder
from tfgen.sampling import complete


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="+", help="shipped models")
    parser.add_argument("--images", type=int, default=200, help="first test images")
    parser.add_argument("--n", type=int, default=8, help="results for each image")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    test = tfgen.load_data("mnist").test.take(0, options.images)
    classifier = tfgen.load(shipped_folder() / "classifier" / "1")
    mask = np.repeat([[False], [True]], 14, axis=0).repeat(28, axis=1)
    print("model, rounds: right digits, distance of two results, seconds", flush=True)
    halves = np.where(mask[..., None], 0, test.images)
    for name, images in {"whole digits": test.images, "upper halves on black": halves}.items():
        print(f"{name}: {right(classifier, images[:, None], test.labels):.1%}", flush=True)
    for name in options.names:
        sampler, start = tfgen.load(shipped_folder() / name / "1"), time.perf_counter()
        results = complete(sampler, test.images, mask, options.n, rounds=options.rounds)
        seconds = time.perf_counter() - start
        share = right(classifier, results, test.labels)
        text = f"{share:.1%}, {distance(results):.2f}, {seconds:.0f}"
        print(f"{name}, {options.rounds}: {text}", flush=True)


def right(classifier: tfgen.Sampler, images: np.ndarray, labels: np.ndarray) -> float:
    """How often the classifier reads the digit of the label, in `uint8[N, n, H, W, C]`."""
    logits = classifier.evaluate("features", images.reshape(-1, *images.shape[2:]))["logits"]
    return float(np.mean(logits.argmax(1).reshape(len(labels), -1) == labels[:, None]))


def distance(results: np.ndarray) -> float:
    """Mean Euclidean distance of two results of an image, for pixels in 0…1."""
    pixels = results.reshape(*results.shape[:2], -1) / np.float32(255)
    pairs = np.linalg.norm(pixels[:, :, None] - pixels[:, None], axis=-1)
    return float(pairs.sum() / (len(results) * results.shape[1] * (results.shape[1] - 1)))


if __name__ == "__main__":
    main()
