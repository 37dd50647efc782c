"""The JSON of TensorFlow Serving's REST interface, to arrays and back. No TensorFlow.

A request has rows, `{"instances": [...]}`, or columns, `{"inputs": ...}`, and is answered in the
same form. This module follows `api_rest.md` of TensorFlow Serving and is stricter in some places;
docs/serve.md lists them.
"""

import json
import math
import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson

from tfgen.publishing.signatures import Signature, TensorSpec
from tfgen.sampling import Arrays
from tfgen.serving.refusal import invalid

DEFAULT_SIGNATURE = "serving_default"
# Most numbers of an answer: about 170 MB of text.
MAX_VALUES = 2**24
# Most characters of a value that an error repeats.
_MAX_SHOWN = 80
# As TensorFlow Serving reads JSON: the first of duplicate keys counts, and NaN is a number.
_JSON = json.JSONDecoder(object_pairs_hook=lambda pairs: dict(reversed(pairs)))


class Request(NamedTuple):
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
    try:
        content, _ = _JSON.raw_decode(body.decode("utf-8-sig", "replace").lstrip())
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(content, dict):
        raise invalid(f"JSON Value: {_shown(content)} Is not object")
    name = content.get("signature_name", "")
    name = DEFAULT_SIGNATURE if name == "" else name
    if not isinstance(name, str) or name not in signatures:
        known = ", ".join(sorted(signatures))
        raise invalid(f'signature name "{_shown(name)}" not found in signature def; known: {known}')
    signature = signatures[name]
    by_row = "instances" in content
    if by_row == ("inputs" in content):
        fault = "only one of 'inputs' or 'instances' keys may exist"
        raise invalid(fault if by_row else "Missing 'inputs' or 'instances' key")
    values = _by_column(content["instances"]) if by_row else content["inputs"]
    columns = _named(values, signature.inputs, by_row)
    inputs = {key: _to_array(key, columns[key], spec) for key, spec in signature.inputs.items()}
    request = Request(name, inputs, by_row)
    _check_sizes(request, signature, max_batch)
    return request


def _by_column(rows: Any) -> list[Any] | dict[str, list[Any]]:
    """The values of each input, from a list with one entry for each row; a list of an only one."""
    if not isinstance(rows, list) or not rows:
        raise invalid("Expecting 'instances' to be an list/array with values")
    if not isinstance(rows[0], dict):
        return rows
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != rows[0].keys():
            keys = f"expected an object with the keys: {', '.join(rows[0])}"
            raise invalid(f"element: {index} of 'instances' list is {_shown(row)}; {_shown(keys)}")
    return {key: [row[key] for row in rows] for key in rows[0]}


def _named(values: Any, specs: Mapping[str, TensorSpec], by_row: bool) -> dict[str, Any]:
    """The values of each input by name; those of an only one need no name."""
    known = ", ".join(sorted(specs))
    if not isinstance(values, dict):
        if len(specs) > 1:
            raise invalid(f"expecting an object as multiple inputs required: {known}")
        return dict.fromkeys(specs, values)
    # TensorFlow Serving ignores further columns, but no further keys of a row.
    if specs.keys() - values.keys() or (by_row and values.keys() - specs.keys()):
        raise invalid(f"the named inputs are: {_shown(', '.join(values))}; expected: {known}")
    return values


# --- values to arrays -------------------------------------------------------------------


def _to_array(key: str, value: Any, spec: TensorSpec) -> np.ndarray:
    """An input as an array of its dtype and shape, which are those of numbers."""
    dtype, sides = np.dtype(spec.dtype), ["any" if side is None else side for side in spec.shape]
    expected = f"expected {dtype.name}, shape [{', '.join(map(str, sides))}]"
    try:
        # numpy takes true for 1 and null for NaN.
        array = np.array(value if _is_numeric(value) else "", float if dtype.kind == "f" else None)
    except (ValueError, OverflowError):  # lists of several lengths, too
        array = np.array("")
    if array.dtype.kind not in ("iuf" if dtype.kind == "f" else "iu") and array.size:
        raise invalid(f"input {key!r} is not of expected type: {_shown(value)}; {expected}")
    if array.ndim != len(spec.shape) or any(
        side not in (None, length) for side, length in zip(spec.shape, array.shape, strict=True)
    ):
        raise invalid(f"input {key!r} has the shape {list(array.shape)}; {expected}")
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    if array.size and not (limits.min <= array.min() and array.max() <= limits.max):  # or NaN
        span = f"{limits.min} to {limits.max}"
        raise invalid(f"input {key!r} ranges from {array.min()} to {array.max()}; takes {span}")
    return array.astype(dtype)


def _is_numeric(value: Any) -> bool:
    """Whether a value is a number, or a list of such values."""
    values = [value]
    while values:
        value = values.pop()
        if type(value) is list:
            values += value
        elif type(value) not in (int, float):  # bool is an int to isinstance
            return False
    return True


def _check_sizes(request: Request, signature: Signature, max_batch: int) -> None:
    """Refuses inputs of different batch sizes, and a batch that is too large to be answered."""
    if any(len(array) != request.size for array in request.inputs.values()):
        counts = ", ".join(f"{key} {len(array)}" for key, array in request.inputs.items())
        raise invalid(f"the inputs have different batch sizes: {counts}")
    if request.size > max_batch:
        raise invalid(f"the batch has {request.size} rows; this server takes {max_batch} at once")
    outputs = signature.outputs.values()
    values = request.size * sum(math.prod(n or 1 for n in spec.shape[1:]) for spec in outputs)
    if values > MAX_VALUES:
        raise invalid(f"the answer would have {values} numbers, the most is {MAX_VALUES}")


def _shown(value: Any) -> str:
    """The beginning of a value, as an error repeats it."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


# --- arrays to JSON ---------------------------------------------------------------------


def write_answer(outputs: Arrays, by_row: bool) -> bytes:
    """The JSON of an answer.

    The name of an only output is left out.

    Args:
        outputs: the outputs by name, the batch first.
        by_row: whether the answer has rows, `predictions`, not columns, `outputs`.
    """
    values: Any = outputs
    if len(outputs) == 1:
        (values,) = outputs.values()
    elif by_row:
        rows = zip(*outputs.values(), strict=True)
        values = [dict(zip(outputs, row, strict=True)) for row in rows]
    content = {"predictions" if by_row else "outputs": values}
    if all(np.isfinite(array).all() for array in outputs.values()):
        # A float32 has the shortest text that gives it again.
        return orjson.dumps(content, np.ndarray.tolist, orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes null for what TensorFlow Serving writes as NaN or Infinity, as Python does.
    return json.dumps(content, default=lambda array: array.tolist()).encode()
