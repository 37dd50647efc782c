"""The JSON of predict requests: rows, columns, dtypes, shapes, base64, and the form of answers."""

import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from starlette.exceptions import HTTPException

from tfgen.publishing.signatures import Signature, TensorSpec
from tfgen.serving import contract
from tfgen.serving.contract import read_request, write_answer

IMAGES = TensorSpec(np.float32, (None, 2, 1))
SIGNATURES = {
    "serving_default": Signature({"seed": TensorSpec(np.int32, (None,))}, {"images": IMAGES}),
    "decode": Signature(
        {"latents": TensorSpec(np.float32, (None, 2)), "label": TensorSpec(np.int32, (None,))},
        {"images": IMAGES},
    ),
    "encode": Signature({"images": TensorSpec(np.uint8, (None, 2, 1))}, {"images": IMAGES}),
}


def read(**content: Any) -> contract.Request:
    return read_request(orjson.dumps(content), SIGNATURES, 100)


def refused(content: Any) -> str:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(HTTPException) as caught:
        read_request(body, SIGNATURES, 100)
    assert caught.value.status_code == 400
    assert len(caught.value.detail) < 400 and "\n" not in caught.value.detail
    return caught.value.detail


def test_rows_and_columns_are_the_same_request() -> None:
    rows = [{"latents": [0.5, 1], "label": 2}, {"label": 0, "latents": [-3, 1e-3]}]
    columns = {"latents": [[0.5, 1], [-3, 1e-3]], "label": [2, 0]}
    by_row = read(signature_name="decode", instances=rows)
    by_column = read(signature_name="decode", inputs=columns)
    assert (by_row.by_row, by_column.by_row) == (True, False)
    for request in (by_row, by_column):
        assert (request.signature, request.size) == ("decode", 2)
        np.testing.assert_array_equal(request.inputs["latents"], np.float32([[0.5, 1], [-3, 1e-3]]))
        np.testing.assert_array_equal(request.inputs["label"], [2, 0])
        assert request.inputs["latents"].dtype == np.float32
        assert request.inputs["label"].dtype == np.int32


def test_what_tensorflow_serving_takes_is_taken() -> None:
    # The first of duplicate keys, no further columns, and nothing after the document.
    body = b'\xef\xbb\xbf {"inputs": {"x": 0, "seed": [7], "seed": [8]}, "inputs": 9, "": "\xff"} x'
    assert read_request(body, SIGNATURES, 100).inputs["seed"].tolist() == [7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "JSON Parse error"),
        (b"[" * 60_000, "JSON Parse error"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": []}, "'instances'"),
        ({"inputs": [1], "instances": [1]}, "only one of"),
        ({"inputs": [1], "signature_name": "sampel"}, '"sampel" not found in signature def; known'),
        ({"instances": [{"seed": 7}, 8]}, "element: 1 of 'instances'"),
        ({"signature_name": "decode", "inputs": [[0, 0]]}, "expecting an object"),
        (
            {"signature_name": "decode", "inputs": {"latents": [[0, 0]]}},
            "named inputs are: latents; expected: label, latents",
        ),
        ({"instances": [{"seed": 1, "label": 1}]}, "named inputs are: label, seed; expected: seed"),
        ({"inputs": [1], "signature_name": None}, '"None" not found'),
        ({"inputs": [1], "signature_name": []}, '"[]" not found'),
        ({"inputs": [[7]]}, "'seed' has the shape [1, 1]; expected int32, shape [any]"),
        ({"inputs": [1.0]}, "type: [1.0]; expected int32, shape [any]"),
        ({"inputs": [{"b64": "AAA="}]}, "'seed' is not of expected type"),
        ({"inputs": [2**31]}, "takes -2147483648 to 2147483647"),
        ({"signature_name": "encode", "inputs": [[[0], [0.5]]]}, "uint8, shape [any, 2, 1]"),
        (
            {"signature_name": "decode", "inputs": {"latents": [[1e39, 0]], "label": [0]}},
            "takes -3.4",
        ),
        (
            {"signature_name": "decode", "inputs": {"latents": [[math.nan, 0]], "label": [0]}},
            "ranges from nan to nan",
        ),
        (
            {"signature_name": "decode", "inputs": {"latents": [[0, 0]], "label": [0, 1]}},
            "different batch sizes: latents 1, label 2",
        ),
        ({"inputs": [0] * 101}, "101 rows; this server takes 100"),
    ],
)
def test_what_is_wrong_is_told(content: Any, message: str) -> None:
    assert message in refused(content)


def test_an_answer_that_is_too_long_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MAX_VALUES", 4)
    assert read(inputs=[1, 2]).size == 2
    assert "the answer would have 6 numbers" in refused({"inputs": [1, 2, 3]})


# --- answers ----------------------------------------------------------------------------


def test_the_name_of_an_only_output_is_left_out() -> None:
    images = np.float32([[[0.1], [1]], [[1e-7], [3.4e38]]])
    text = write_answer({"images": images}, True)
    # The shortest text of a float32; whole numbers have a point, as TensorFlow Serving's.
    assert text.startswith(b'{"predictions":[[[0.1],[1.0]],[[1e-7],')
    answer = orjson.loads(write_answer({"images": images}, False))
    np.testing.assert_array_equal(np.float32(answer["outputs"]), images)


@pytest.mark.parametrize("by_row", [True, False])
def test_numbers_that_are_not_finite_are_written_as_tensorflow_serving_does(by_row: bool) -> None:
    outputs = {"log_prob": np.float32([-np.inf, np.nan, 0.1]), "count": np.int32([1, 2, 3])}
    text = write_answer(outputs, by_row).decode()
    assert "-Infinity" in text and "NaN" in text and "0.1" in text and "null" not in text
    json.loads(text)
