import itertools

import numpy as np
import pytest

from tfgen.data import eval_batches, steps_per_epoch, train_batches
from tfgen.errors import UsageError

pytestmark = pytest.mark.quick

N, BATCH = 23, 4
STEPS = N // BATCH
# The first pixel of an image is its index.
IMAGES = np.tile(np.arange(N, dtype=np.uint8)[:, None, None, None], (1, 3, 2, 1))
LABELS = np.arange(N) * 10


def order(count: int, start: int = 0, seed: int = 1, batch: int = BATCH) -> list[list[int]]:
    stream = train_batches(IMAGES, batch_size=batch, seed=seed, start_step=start)
    return [
        images[:, 0, 0, 0].tolist()
        for images in itertools.islice(stream.as_numpy_iterator(), count)
    ]


def flat(batches: list[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(batches))


def test_each_epoch_visits_no_image_twice():
    for epoch in range(3):
        visited = flat(order(STEPS, start=epoch * STEPS))
        assert len(visited) == len(set(visited)) == STEPS * BATCH
    # With a batch that divides N nothing is dropped: a permutation.
    assert sorted(flat(order(N, batch=1))) == list(range(N))


@pytest.mark.parametrize("start", [0, 1, STEPS - 1, STEPS, 2 * STEPS + 3])
def test_resumed_stream_is_the_tail_of_the_whole(start):
    whole = order(4 * STEPS)
    assert order(4 * STEPS - start, start=start) == whole[start:]


def test_order_is_a_function_of_seed_and_epoch():
    assert order(STEPS) == order(STEPS)
    orders = [
        tuple(flat(order(STEPS, seed=seed, start=e * STEPS)))
        for seed in (0, 1, 2**31 - 1)
        for e in range(4)
    ]
    assert len(set(orders)) == len(orders)


def test_order_is_that_of_the_day_it_was_written():
    # If TensorFlow ever changes its permutation, resumed runs no longer match.
    assert order(2, seed=7) == [[15, 6, 3, 8], [11, 0, 1, 2]]


def test_labels_stay_with_their_images_and_shapes_are_static():
    stream = train_batches(IMAGES, LABELS, batch_size=BATCH, seed=3)
    images, labels = stream.element_spec
    assert (images.shape, images.dtype.name) == ((BATCH, 3, 2, 1), "uint8")
    assert (labels.shape, labels.dtype.name) == ((BATCH,), "int64")
    for pixels, classes in stream.take(2 * STEPS).as_numpy_iterator():
        np.testing.assert_array_equal(pixels[:, 0, 0, 0].astype(int) * 10, classes)


def test_evaluation_gets_all_images_in_order():
    for batch in (1, BATCH, N, 100):
        batches = list(eval_batches(IMAGES, LABELS, batch).as_numpy_iterator())
        assert len(batches) == -(-N // batch)
        np.testing.assert_array_equal(np.concatenate([images for images, _ in batches]), IMAGES)
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), LABELS)
    assert eval_batches(IMAGES, batch_size=BATCH).element_spec.shape.as_list() == [None, 3, 2, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": N + 1}, f"batch_size = {N + 1}"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**31}, "seed = 2147483648"),
        ({"start_step": -1}, "start_step = -1"),
        ({"labels": LABELS[1:]}, "22 labels"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        train_batches(IMAGES, **({"batch_size": BATCH, "seed": 0} | arguments))


def test_steps_per_epoch_counts_whole_batches():
    assert [steps_per_epoch(n, 4) for n in (4, 7, 8)] == [1, 1, 2]
    with pytest.raises(UsageError, match=r"batch_size = 5 is larger than the data, 4 images"):
        steps_per_epoch(4, 5)
