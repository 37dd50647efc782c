"""The answers of the versions on this machine."""

from typing import Any

import orjson

from tfgen.errors import UsageError
from tfgen.sampling import check_labels
from tfgen.serving.catalog import Catalog
from tfgen.serving.contract import read_request, write_answer
from tfgen.serving.refusal import RefusalError, invalid


class LocalModels:
    """The versions in a folder and the shipped ones, behind TensorFlow Serving's REST interface.

    Args:
        catalog: the versions.
        max_batch: most rows of a request.
    """

    def __init__(self, catalog: Catalog, max_batch: int):
        self.catalog, self.max_batch = catalog, max_batch

    def status(self, name: str, number: int | None) -> bytes:
        """The states of a model's versions, as JSON.

        Raises:
            RefusalError: there is no such name or version.
        """
        entries = self.catalog.find(name, number)
        states = [_state(e.version.number, self.catalog.fault(e)) for e in entries]
        return orjson.dumps({"model_version_status": states})

    def metadata(self, name: str, number: int | None) -> bytes:
        """The signatures of a version, as JSON.

        Raises:
            RefusalError: there is no such name or version, or it cannot be opened.
        """
        return orjson.dumps(self.catalog.open(name, number).metadata)

    def predict(self, name: str, number: int | None, body: bytes) -> bytes:
        """The outputs of a signature, as JSON.

        Raises:
            RefusalError: there is no such name or version, or the request does not fit it.
        """
        opened = self.catalog.open(name, number)
        request = read_request(body, opened.signatures, self.max_batch)
        if "label" in request.inputs:
            try:
                check_labels(request.inputs["label"], opened.sampler.num_classes)
            except UsageError as error:
                raise invalid(str(error)) from None
        try:
            outputs = opened.sampler.call(request.signature, **request.inputs)
        except MemoryError:
            raise RefusalError(500, "Out of memory; ask for fewer rows at once") from None
        return write_answer(outputs, request.by_row)

    def close(self) -> None:
        """Releases the threads."""
        self.catalog.close()


def _state(number: int, fault: str | None) -> dict[str, Any]:
    return {
        "version": str(number),
        "state": "AVAILABLE" if fault is None else "END",
        "status": {
            "error_code": "OK" if fault is None else "UNKNOWN",
            "error_message": fault or "",
        },
    }
