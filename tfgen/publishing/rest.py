"""TensorFlow Serving's REST interface. No TensorFlow here."""

import re
from typing import Any

import numpy as np
import orjson
import requests

from tfgen.errors import UsageError, WorkError
from tfgen.publishing.served import SignatureDefs, Transport
from tfgen.sampling import Arrays

_URL = re.compile(r"https?://([^\s/?#\[\]]+|\[[\da-f:.]+\](:\d+)?)(/[^\s?#]*)?", re.IGNORECASE)
# Statuses that say "later": too many requests, a gateway without its server, a server that is not
# ready.
_RETRIED = (429, 502, 503)
# The server's own time limit was reached: the same request again would take as long.
_LATE = 504
# Seconds to wait for a connection, and the most connections that are kept open.
_CONNECT, _CONNECTIONS = 10.0, 256


class Rest(Transport):
    """A way to TensorFlow Serving's REST interface.

    Args:
        url: `http://host:8501`, without a path unless a gateway needs one.
        timeout: seconds to wait for an answer.
        retries: repetitions of a request that did not reach the server, whose connection broke, or
            if the server was overloaded; at most 4.

    Raises:
        UsageError: the URL cannot be a server's.
    """

    def __init__(self, url: str, timeout: float = 60.0, retries: int = 3):
        if not _URL.fullmatch(url):
            raise UsageError(f"--url {url!r} is no address; pass one like http://localhost:8501")
        super().__init__(url.rstrip("/"), timeout, retries)
        self._session = requests.Session()
        self._session.headers["Content-Type"] = "application/json"
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def metadata(self, name: str, version: int | None) -> tuple[int, SignatureDefs, list[str]]:
        """The number, the signatures and the classes' names of a version of the model `name`."""
        answer = self.answer("GET", f"{_model_path(name, version)}/metadata", None)
        try:
            metadata, number = answer["metadata"], int(answer["model_spec"]["version"])
            definitions = metadata["signature_def"]["signature_def"]
            return number, definitions, metadata.get("class_names", [])
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_serving() from error

    def predict(self, name: str, version: int, signature: str, inputs: Arrays) -> Any:
        """The outputs of a signature by name, as nested lists; an only output has no name."""
        # Rows: TensorFlow Serving answers columns with a line for each number, six times as long.
        rows = [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]
        content = {"signature_name": signature, "instances": rows}
        body = orjson.dumps(content, np.ndarray.tolist, orjson.OPT_SERIALIZE_NUMPY)
        answer = self.answer("POST", f"{_model_path(name, version)}:predict", body)
        try:
            rows = answer["predictions"]
            has_names = isinstance(rows[0], dict)
            return {key: [row[key] for row in rows] for key in rows[0]} if has_names else rows
        except (KeyError, TypeError, IndexError) as error:
            raise self._not_serving() from error

    def ask(self, *request: Any) -> dict[str, Any]:
        """The JSON of the answer to a method, a path and, for POST, a body."""
        method, path, body = request
        try:
            wait = (min(self.timeout, _CONNECT), self.timeout)
            response = self._session.request(method, self.address + path, data=body, timeout=wait)
        except requests.RequestException as error:
            if "Read timed out" in str(error):  # before the answer, or within it
                raise self.late_answer() from error
            text = f"no server answers at {self.address} ({_reason(error)}); is its REST port 8501?"
            raise ConnectionError(text) from error
        status = response.status_code
        if status == _LATE:
            text = f"the server at {self.address} ended the request at its own time limit"
            flags = "--rest_api_timeout_in_ms of TensorFlow Serving, --timeout of tfgen-serve"
            raise WorkError(f"{text} ({flags}); ask for less at once with --batch-size")
        try:
            answer = response.json()
        except ValueError:
            answer = None
        message = answer.get("error") if isinstance(answer, dict) else None
        if status in _RETRIED:
            raise ConnectionError(f"the server at {self.address} is not ready: {message or status}")
        if message is not None and status != 200:
            raise self.refusal(message, is_missing=status == 404)
        if status != 200 or not isinstance(answer, dict):
            raise self._not_serving(f"status {status}")
        return answer

    def _not_serving(self, reason: str = "its JSON has another form") -> WorkError:
        return WorkError(f"what answers at {self.address} is not TensorFlow Serving ({reason})")


def _model_path(name: str, version: int | None) -> str:
    """The path of a model or of one of its versions."""
    return f"/v1/models/{name}" + (f"/versions/{version}" if version is not None else "")


def _reason(error: BaseException) -> str:
    """Why a request failed, in a few words: the end of what urllib3 says."""
    reason = getattr(next(iter(error.args), None), "reason", error)
    return " ".join(str(reason).rpartition(": ")[2].split())[:120]
