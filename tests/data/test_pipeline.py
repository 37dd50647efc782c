import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfgen.data import Dataset, Split, eval_batches, on_host, train_batches

N, BATCH = 23, 4
STEPS = N // BATCH
# The first pixel of an image is its index.
IMAGES = np.tile(np.arange(N, dtype=np.uint8)[:, None, None, None], (1, 3, 2, 1))
LABELS = np.arange(N) * 10


def order(count: int, start: int = 0, seed: int = 1, batch: int = BATCH) -> list[list[int]]:
    stream = train_batches(IMAGES, batch_size=batch, seed=seed, start_step=start)
    batches = itertools.islice(stream.as_numpy_iterator(), count)
    return [images[:, 0, 0, 0].tolist() for images in batches]


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
    keys = itertools.product((0, 1, 2**31 - 1), range(4))
    orders = [tuple(flat(order(STEPS, seed=seed, start=e * STEPS))) for seed, e in keys]
    assert len(set(orders)) == len(orders)


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


@pytest.fixture(params=["whole", "slice", "writable copy"])
def mapped(request, tmp_path) -> np.memmap:
    """`IMAGES` mapped from a file, in different ways."""
    path = tmp_path / "images.npy"
    around = np.concatenate([IMAGES[::-1], IMAGES, IMAGES])
    if request.param == "whole":
        np.save(path, IMAGES)
        return np.load(path, mmap_mode="r")
    if request.param == "slice":
        np.save(path, around)
        return np.load(path, mmap_mode="r")[5:][N - 5 : 2 * N - 5]
    np.save(path, np.zeros_like(IMAGES))
    copy = np.load(path, mmap_mode="c")
    copy[:] = IMAGES
    return copy


def test_images_in_a_file_give_the_batches_of_images_in_memory(mapped):
    assert isinstance(mapped, np.memmap)
    for labels in (None, LABELS):
        streams = [
            train_batches(images, labels, batch_size=BATCH, seed=5, start_step=3).take(2 * STEPS)
            for images in (IMAGES, on_host(mapped))
        ]
        assert streams[0].element_spec == streams[1].element_spec
        passes = [eval_batches(images, labels, BATCH) for images in (IMAGES, mapped)]
        assert passes[0].element_spec == passes[1].element_spec
        for expected, stream in (streams, passes):
            batches = zip(expected.as_numpy_iterator(), stream.as_numpy_iterator(), strict=True)
            for before, after in batches:
                arrays = zip(tf.nest.flatten(before), tf.nest.flatten(after), strict=True)
                for array, expected_array in arrays:
                    np.testing.assert_array_equal(array, expected_array)


def test_all_images_are_those_of_training_and_then_those_of_validation():
    splits = (Split(IMAGES, LABELS).take(*ends) for ends in ((0, 12), (15, N), (12, 15)))
    dataset = Dataset("d", "1.0.0", *splits, num_classes=None, fingerprint="")
    whole, order = dataset.training_split("all"), [*range(12), *range(15, N)]
    np.testing.assert_array_equal(whole.images, IMAGES[order])
    np.testing.assert_array_equal(whole.labels, LABELS[order])
    assert len(whole) == dataset.count_training("all")
