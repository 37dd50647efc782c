"""Samplers on this machine: the sizes of their parts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfgen.nn import cores
from tfgen.publishing.sampler import LocalSampler
from tfgen.system import machine


class RowCounter(LocalSampler):
    """Its only signature gives, for each row, the number of rows in its part."""

    training: Mapping[str, Any] = {"model": {"image_shape": [56, 28, 2]}}

    def has_signature(self, name: str) -> bool:
        return True

    def _function(self, name: str) -> tuple[Any, Mapping[str, tf.TensorSpec]]:
        specs = {"seed": tf.TensorSpec([None], tf.int32)}

        def count(seed: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"rows": tf.fill(tf.shape(seed), tf.size(seed))}

        return tf.function(count, list(specs.values())).get_concrete_function(), specs


def test_a_sampler_computes_parts_of_that_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_concurrent_parts", 2)
    # Without AVX-512, the graph would stay whole, because it is short.
    monkeypatch.setattr(machine, "has_avx512", lambda: True)
    with cores.speedups(True):
        rows = RowCounter().call("count", seed=np.arange(64, dtype=np.int32))["rows"]
    np.testing.assert_array_equal(rows, np.full(64, 16))
