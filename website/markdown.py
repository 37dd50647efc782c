"""Markdown as the repository's host reads it, turned into what ProperDocs reads; and its links."""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from website.content import ROOT, Content

_FENCE = re.compile(r" *(`{3,}|~{3,})")
_ITEM = re.compile(r" *([-*+]|1[.)]) ")
_DISPLAY = re.compile(r"^(\$\$.*?\$\$[ ]*)$", re.S | re.M)
_LINK = re.compile(r"(?<!!)\[([^\[\]]*(?:!\[[^\]]*\]\([^)]*\))?[^\[\]]*)\]\(([^)\s]+)\)")
_SIZED_PICTURE = re.compile(r'(<img src=")([^"]+)')
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def outside_fences(text: str, change: Callable[[str], str]) -> str:
    """Changes what is not in a fenced block of code.

    Args:
        text: Markdown.
        change: a function of the text between two blocks of code.
    """
    parts: list[str] = []
    lines: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        match = _FENCE.match(line)
        if not fence and match:
            parts.append(change("".join(lines)))
            lines, fence = [line], match[1]
            continue
        lines.append(line)
        if fence and line.strip() == fence:
            parts.append("".join(lines))
            lines, fence = [], ""
    rest = "".join(lines)
    return "".join([*parts, rest if fence else change(rest)])


def with_blank_lines(text: str) -> str:
    """Sets lists and displayed formulas apart from the paragraph before them.

    The host begins a list or a formula within a paragraph; ProperDocs wants a blank line first.
    """
    # The formulas are every other part. A line of one may begin with a plus, as an item does.
    parts = _DISPLAY.split(text)
    parts[::2] = [_set_lists_apart(part) for part in parts[::2]]
    parts[1::2] = [f"\n{formula}\n" for formula in parts[1::2]]
    return "".join(parts)


def _set_lists_apart(text: str) -> str:
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        before = lines[-1] if lines else "\n"
        continues = _ITEM.match(before) or before[0] in " \n"
        if _ITEM.match(line) and not line.startswith(" ") and not continues:
            lines.append("\n")
        lines.append(line)
    return "".join(lines)


def without_comments(text: str) -> str:
    """Leaves out the lines that are HTML comments."""
    return re.sub(r"^<!--.*?-->\n", "", text, flags=re.M | re.S)


class Links:
    """Rewrites the links of one document.

    Args:
        content: the pages of the site.
        source: path of the document within the repository.
        uri: path of its page within the site.
    """

    def __init__(self, content: Content, source: str, uri: str):
        self.content = content
        self.folder = posixpath.dirname(source)
        self.page_folder = posixpath.dirname(uri)

    def rewrite(self, text: str) -> str:
        """Markdown whose links lead to pages of the site.

        A file of data that the site does not have is named by its path, without a link.
        """
        text = _PICTURE.sub(lambda match: f"![{match[1]}]({self._target(match[2])})", text)
        text = _SIZED_PICTURE.sub(lambda match: match[1] + self._target(match[2]), text)
        return _LINK.sub(self._link, text)

    def _link(self, match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        path = self._repository_path(target)
        if path is None or words.startswith("![") or self._has_page(path):
            return f"[{words}]({self._target(target)})"
        if path.startswith("../.."):  # a page that the host has for the repository
            host = self.content.repository
            return f"[{words}]({host}{path.removeprefix('../..')})" if host else words
        if not (ROOT / path).exists():
            return match[0]
        if uri := self.content.add_code(path):
            return f"[{words}]({self._relative(uri)})"
        return f"`{path}`" if path.endswith(words.strip("`")) else f"{words} (`{path}`)"

    def _has_page(self, path: str) -> bool:
        return path in self.content.uris or Path(path).suffix in (".md", ".png")

    def _repository_path(self, target: str) -> str | None:
        """The file of the repository that a link leads to; None if it leads elsewhere."""
        if re.match(r"[a-z]+:|#|/", target):
            return None
        return posixpath.normpath(posixpath.join(self.folder, target.partition("#")[0]))

    def _target(self, target: str) -> str:
        path = self._repository_path(target)
        if path is None:
            return target
        anchor = target.partition("#")[1] + target.partition("#")[2]
        return self._relative(self.content.uris.get(path, path.removeprefix("docs/"))) + anchor

    def _relative(self, uri: str) -> str:
        return posixpath.relpath(uri, self.page_folder or ".")
