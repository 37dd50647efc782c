"""Markdown as the repository's host reads it, turned into what MkDocs reads."""

import re
from collections.abc import Callable

_FENCE = re.compile(r" *(`{3,}|~{3,})")
_ITEM = re.compile(r" *([-*+]|1[.)]) ")
_DISPLAY = re.compile(r"^(\$\$.*?\$\$[ ]*)$", re.S | re.M)


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

    The host begins a list or a formula within a paragraph; MkDocs wants a blank line first.
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
