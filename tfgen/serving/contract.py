"""The JSON of TensorFlow Serving's REST interface, to arrays and back. No TensorFlow.

A request has rows, `{"instances": [...]}`, or columns, `{"inputs": ...}`, and is answered in the
same form. This module follows `api_rest.md` of TensorFlow Serving and is stricter in some places;
docs/serve.md lists them.
"""

import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from starlette.exceptions import HTTPException

from tfgen.publishing.signatures import Signature, TensorSpec
from tfgen.sampling import Arrays
from tfgen.serving.refusal import invalid

DEFAULT_SIGNATURE = "serving_default"
# Most numbers of an answer: about 170 MB of text.
MAX_VALUES = 2**24
# Most characters of a value that an error repeats.
_MAX_SHOWN = 80


@dataclass(frozen=True)
class Request:
    """A predict request.

    Attributes:
        signature: name of the signature.
        inputs: its inputs by name, the batch first.
        by_row: whether it has rows, `instances`, and is answered with rows.
    """

    signature: str
    inputs: Arrays
    by_row: bool

    @property
    def size(self) -> int:
        """Number of rows of the batch."""
        return len(next(iter(self.inputs.values())))


def read_request(body: bytes, signatures: Mapping[str, Signature], max_batch: int) -> Request:
    """Reads the body of a predict request.

    Args:
        body: the JSON.
        signatures: the signatures of the model by name.
        max_batch: most rows of a batch.

    Raises:
        HTTPException: it is not JSON, not a predict request, or does not fit the signature.
    """
    content = _parse(body)
    name = content.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    name = name or DEFAULT_SIGNATURE
    if name not in signatures:
        known = ", ".join(sorted(signatures))
        raise invalid(
            f'Serving signature name: "{_shown(name)}" not found in signature def; known: {known}'
        )
    signature = signatures[name]
    by_row = "instances" in content
    if by_row == ("inputs" in content):
        fault = "only one of 'inputs' or 'instances' keys may exist"
        raise invalid(fault if by_row else "Missing 'inputs' or 'instances' key")
    if by_row:
        columns = _columns_of_rows(content["instances"], signature.inputs)
    else:
        columns = _columns(content["inputs"], signature.inputs)
    inputs = {key: _to_array(key, columns[key], spec) for key, spec in signature.inputs.items()}
    request = Request(name, inputs, by_row)
    _check_sizes(request, signature, max_batch)
    return request


def _parse(body: bytes) -> dict[str, Any]:
    if not body.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:  # too deep a nesting, too
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(content, dict):
        raise invalid(f"JSON Value: {_shown(content)} Is not object")
    return content


def _columns_of_rows(rows: Any, specs: Mapping[str, TensorSpec]) -> dict[str, list[Any]]:
    """The values of each input, from a list with one entry for each row."""
    if not isinstance(rows, list):
        raise invalid("Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid("No values in 'instances' array")
    if not _is_object(rows[0]):
        if len(specs) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input "
                f"tensors required: {', '.join(sorted(specs))}"
            )
        return {next(iter(specs)): rows}
    for index, row in enumerate(rows):
        if not _is_object(row):
            raise invalid(f"Expecting object but got list at item {index} of input list")
        if row.keys() != specs.keys():
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{_shown(row)} keys must be equal to: {','.join(sorted(specs))}"
            )
    return {key: [row[key] for row in rows] for key in specs}


def _columns(inputs: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    """The values of each input, from an object with one entry for each input."""
    if not _is_object(inputs):
        if len(specs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                f"required: {', '.join(sorted(specs))}"
            )
        return {next(iter(specs)): inputs}
    for key in specs:
        if key not in inputs:
            raise invalid(f"Missing named input: {key} in 'inputs' object.")
    for key in inputs:
        if key not in specs:
            known = ", ".join(sorted(specs))
            raise invalid(f"Unknown named input: {_shown(key)} in 'inputs' object; known: {known}")
    return inputs


def _is_object(value: Any) -> bool:
    """Whether a value is a JSON object that is not binary data, `{"b64": "..."}`."""
    return isinstance(value, dict) and value.keys() != {"b64"}


# --- values to arrays -------------------------------------------------------------------


def _to_array(key: str, value: Any, spec: TensorSpec) -> np.ndarray:
    """An input as an array of its dtype and shape, which are those of numbers."""
    # numpy takes true for 1, and makes every string of an array as long as the longest one.
    if _has_any(value, (str, bool)):
        raise _wrong_type(key, value, spec)
    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # lists of several lengths
        array = np.array(None)
    accepted = "iuf" if np.dtype(spec.dtype).kind == "f" else "iu"
    if array.dtype.kind not in accepted and array.size:
        raise _wrong_type(key, value, spec)
    if array.ndim != len(spec.shape) or any(
        side not in (None, length) for side, length in zip(spec.shape, array.shape, strict=True)
    ):
        raise invalid(
            f"input {key!r} has the shape {list(array.shape)}; expected {_shape_text(spec.shape)}"
        )
    return _cast(key, array, np.dtype(spec.dtype))


def _cast(key: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Numbers as numbers of the dtype, if they are in its range."""
    if not array.size:
        return array.astype(dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise invalid(
                f"input {key!r} ranges from {array.min()} to {array.max()}; {dtype.name} takes "
                f"{limits.min} to {limits.max}"
            )
        return array.astype(dtype)
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    if dtype.kind == "f" and not np.isfinite(cast).all():
        raise invalid(f"input {key!r} has a number that is too large for {dtype.name}")
    return cast


def _has_any(value: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a value, or one in its nested lists, is of one of the types."""
    values = [value]
    while values:
        value = values.pop()
        if isinstance(value, list):
            values += value
        elif isinstance(value, kinds):
            return True
    return False


def _wrong_type(key: str, value: Any, spec: TensorSpec) -> HTTPException:
    expected = f"{np.dtype(spec.dtype).name}, shape {_shape_text(spec.shape)}"
    return invalid(f"input {key!r} is not of expected type: {expected}; it is {_shown(value)}")


def _check_sizes(request: Request, signature: Signature, max_batch: int) -> None:
    """Refuses inputs of different batch sizes, and a batch that is too large to be answered."""
    sizes = {key: len(array) for key, array in request.inputs.items()}
    if len(set(sizes.values())) > 1:
        counts = ", ".join(f"{key} {size}" for key, size in sizes.items())
        raise invalid(f"the inputs have different batch sizes: {counts}")
    if request.size > max_batch:
        raise invalid(
            f"the batch has {request.size} rows; this server takes {max_batch} at once "
            "(tfgen-serve --max-batch)"
        )
    values = sum(
        request.size * math.prod(side or 1 for side in spec.shape[1:])
        for spec in signature.outputs.values()
    )
    if values > MAX_VALUES:
        raise invalid(
            f"the answer would have {values} numbers, the most is {MAX_VALUES}; ask for fewer rows"
        )


def _shape_text(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('any' if side is None else str(side) for side in shape)}]"


def _shown(value: Any) -> str:
    """The beginning of a value, as an error repeats it."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


# --- arrays to JSON ---------------------------------------------------------------------


def write_answer(outputs: Arrays, by_row: bool) -> bytes:
    """The JSON of an answer.

    The name of an only output is left out. A float32 has the shortest text that gives it again.

    Args:
        outputs: the outputs by name, the batch first.
        by_row: whether the answer has rows, `predictions`, not columns, `outputs`.
    """
    is_finite = all(
        array.dtype.kind != "f" or bool(np.isfinite(array).all()) for array in outputs.values()
    )
    values = {key: _json_values(array, is_finite) for key, array in outputs.items()}
    only = next(iter(values.values())) if len(values) == 1 else None
    content: dict[str, Any]
    if not by_row:
        content = {"outputs": values if only is None else only}
    elif only is not None:
        content = {"predictions": only}
    else:
        rows = zip(*values.values(), strict=True)
        content = {"predictions": [dict(zip(values, row, strict=True)) for row in rows]}
    if is_finite:
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes null for what TensorFlow Serving writes as NaN or Infinity, as Python does.
    return json.dumps(content).encode()


def _json_values(array: np.ndarray, is_finite: bool) -> Any:
    """An output as orjson takes it, or nested lists if it cannot write a number."""
    if is_finite:
        return np.ascontiguousarray(array)
    # By way of its shortest text: as a double, a float32 has more digits than it needs.
    return (np.array(array.astype(str), float) if array.dtype.kind == "f" else array).tolist()
