"""Notebooks as pages: Markdown, code and the outputs that are stored with it."""

import base64
import json
import re
from pathlib import Path
from typing import Any

# Of an output that has several forms, the first of these is shown.
_PICTURES = {"image/png": "png", "image/svg+xml": "svg", "image/jpeg": "jpg"}
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# A link to a heading as Jupyter wants it, with a hyphen for each space and nothing else changed.
_FRAGMENT = re.compile(r"(?<=\]\()#[^)\s]+")


class NotebookPage:
    """A notebook as Markdown, and the pictures that it shows.

    Args:
        path: the `.ipynb` file.

    Attributes:
        markdown: the page.
        pictures: the content of each picture by its name.

    Raises:
        ValueError: the notebook has the output of an exception.
    """

    def __init__(self, path: Path):
        self.name = path.stem
        self.pictures: dict[str, bytes] = {}
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        self.markdown = "\n\n".join(filter(None, map(self._cell, cells))) + "\n"

    def _cell(self, cell: dict[str, Any]) -> str:
        source = "".join(cell["source"]).strip("\n")
        if cell["cell_type"] == "markdown":
            source = source.replace("<details>", '<details markdown="1">')
            return _FRAGMENT.sub(lambda match: re.sub(r"[^#\w-]", "", match[0].lower()), source)
        if cell["cell_type"] != "code" or not source:
            return ""
        outputs = [self._output(output) for output in cell["outputs"]]
        return "\n\n".join([_fenced(source, "python"), *filter(None, outputs)])

    def _output(self, output: dict[str, Any]) -> str:
        kind = output["output_type"]
        if kind == "error":
            raise ValueError(f"the notebook {self.name} has an error: {output['evalue']}")
        if kind == "stream":
            # Messages of libraries, on standard error, are no part of the answer.
            return _printed("".join(output["text"])) if output["name"] == "stdout" else ""
        data = {key: "".join(value) for key, value in output["data"].items() if _is_text(value)}
        for mime_type, suffix in _PICTURES.items():
            if mime_type in data:
                return self._picture(data[mime_type], suffix)
        if "text/markdown" in data:
            return data["text/markdown"]
        if "text/html" in data:
            return f'<div class="output" markdown="0">{data["text/html"]}</div>'
        return _printed(data.get("text/plain", ""))

    def _picture(self, content: str, suffix: str) -> str:
        name = f"{self.name}-{len(self.pictures) + 1}.{suffix}"
        is_vector = suffix == "svg"
        self.pictures[name] = content.encode() if is_vector else base64.b64decode(content)
        return f"![output of the cell above]({name}){{ .output }}"


def _is_text(value: Any) -> bool:
    return isinstance(value, str | list)


def _printed(text: str) -> str:
    text = _ESCAPES.sub("", text).strip("\n")
    return _fenced(text, "{ .text .output }") if text.strip() else ""


def _fenced(text: str, language: str) -> str:
    """A block of code, with a fence that is longer than any in the text."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`{3,}", text) or ["``"]))
    return f"{fence}{language}\n{text}\n{fence}"
