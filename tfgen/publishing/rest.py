"""TensorFlow Serving's REST interface. No TensorFlow here."""

import time
from typing import Any

from tfgen.errors import UsageError, WorkError
from tfgen.publishing.served import (
    BACKOFF,
    BACKOFF_RATIO,
    UNNAMED,
    SignatureDefs,
    late_answer,
    refusal,
    version_gone,
)
from tfgen.sampling import Arrays

# Statuses that say "later": too many requests, a gateway without its server, a server that is not
# ready.
_RETRIED = (429, 502, 503)
# The server's own time limit was reached: the same request again would take as long.
_LATE = 504
# Seconds to wait for a connection.
_CONNECT = 10.0


class Rest:
    """A `Transport` to TensorFlow Serving's REST interface.

    Args:
        url: `http://host:8501`, without a path unless a gateway needs one.
        timeout: seconds to wait for an answer.
        retries: repetitions of a request that did not reach the server, whose connection broke, or
            if the server was overloaded; at most 4.

    Raises:
        UsageError: the URL cannot be a server's.
    """

    def __init__(self, url: str, timeout: float = 60.0, retries: int = 3):
        import requests
        from urllib3.exceptions import LocationParseError
        from urllib3.util import parse_url

        try:
            parts = parse_url(url)
        except LocationParseError:
            parts = parse_url("")
        if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
            raise UsageError(
                f"--url {url!r} is not the address of a server; pass one like http://localhost:8501"
            )
        self.address, self.timeout, self.retries = url.rstrip("/"), timeout, retries
        self._session = requests.Session()

    def metadata(self, name: str, version: int | None) -> tuple[int, SignatureDefs]:
        """The number and the signatures of a version of the model `name`.

        Raises:
            UsageError: the server has no such model or version.
            WorkError: there is no answer, or the answer is not TensorFlow Serving's.
        """
        answer = self._send("GET", f"{_path(name, version)}/metadata")
        try:
            definitions = answer["metadata"]["signature_def"]["signature_def"]
            return int(answer["model_spec"]["version"]), definitions
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_serving() from error

    def predict(self, name: str, version: int, signature: str, inputs: Arrays) -> dict[str, Any]:
        """The outputs of a signature by name.

        Args:
            name: the model's name on the server.
            version: number of the version.
            signature: name of the signature.
            inputs: arrays by name, with the batch first.

        Raises:
            WorkError: there is no answer, or the server refuses or no longer has the version.
        """
        # `inputs` is the columnar form, which is shorter than `instances`.
        columns = {key: value.tolist() for key, value in inputs.items()}
        body = {"signature_name": signature, "inputs": columns}
        answer = self._send("POST", f"{_path(name, version)}:predict", body)
        outputs = answer.get("outputs")
        if outputs is None:
            raise self._not_serving()
        # The server leaves out the name of an only output.
        return outputs if isinstance(outputs, dict) else {UNNAMED: outputs}

    def _send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        import requests
        from urllib3.exceptions import HTTPError

        try:
            response = self._request(method, path, body)
        except requests.exceptions.InvalidJSONError as error:
            raise UsageError(f"the inputs cannot be sent: {error}") from error
        except (requests.RequestException, HTTPError) as error:
            if is_late(error):
                raise WorkError(late_answer(self.address, self.timeout)) from error
            raise WorkError(
                f"no server answers at {self.address} ({_reason(error)}); "
                "is it up, and is this its REST port, by default 8501?"
            ) from error
        return self._read(response, method, path)

    def _request(self, method: str, path: str, body: Any) -> Any:
        """The server's response, after repetitions if it is not there or busy."""
        import requests

        broken = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
        wait = (min(self.timeout, _CONNECT), self.timeout)
        for attempt in range(self.retries + 1):
            is_last = attempt == self.retries
            try:
                response = self._session.request(
                    method, self.address + path, json=body, timeout=wait
                )
                if is_last or response.status_code not in _RETRIED:
                    break
            except broken as error:
                # A slow server would only get more work by a repetition.
                if is_last or is_late(error):
                    raise
            # Not for as long as the server's header says, which may be hours.
            time.sleep(BACKOFF * BACKOFF_RATIO**attempt)
        return response

    def _read(self, response: Any, method: str, path: str) -> dict[str, Any]:
        """The JSON of an answer, or the error that it stands for."""
        status = response.status_code
        try:
            answer = response.json()
        except ValueError:
            answer = None
        message = answer.get("error") if isinstance(answer, dict) else None
        if status == _LATE:
            late = late_answer(self.address, self.timeout)
            raise WorkError(f"{late} (the server's own limit: status {status})")
        if status in _RETRIED:
            reason = message or f"status {status}"
            raise WorkError(f"the server at {self.address} is not ready: {reason}")
        if not isinstance(answer, dict) or (status != 200 and message is None):
            raise self._not_serving(f"status {status}")
        if status == 404 and method == "POST":
            raise WorkError(version_gone(self.address, path.split(":")[0], message))
        if status != 200:
            kind = UsageError if status == 404 else WorkError
            raise kind(refusal(self.address, message))
        return answer

    def _not_serving(self, reason: str = "its JSON has another form") -> WorkError:
        return WorkError(f"what answers at {self.address} is not TensorFlow Serving ({reason})")


def _path(name: str, version: int | None) -> str:
    return f"/v1/models/{name}" + (f"/versions/{version}" if version is not None else "")


def is_late(error: BaseException) -> bool:
    """Whether a request failed because its answer did not come in time."""
    from requests import ReadTimeout
    from urllib3.exceptions import ReadTimeoutError

    stalled = error.args and isinstance(error.args[0], ReadTimeoutError)
    return bool(stalled) or isinstance(error, ReadTimeout)


def _reason(error: BaseException) -> str:
    """Why a request failed, in a few words: the end of what urllib3 says."""
    reason = getattr(next(iter(error.args), None), "reason", error)
    return " ".join(str(reason).rpartition(": ")[2].split())[:120]
