"""Data sets as uint8 arrays, and resumable batches of them.

Importing this package imports no TensorFlow.
"""

from tfgen.data.dataset import Dataset, Split
from tfgen.data.load import load
from tfgen.data.pipeline import eval_batches, on_host, steps_per_epoch, train_batches

__all__ = [
    "Dataset",
    "Split",
    "eval_batches",
    "load",
    "on_host",
    "steps_per_epoch",
    "train_batches",
]
