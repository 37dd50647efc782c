"""Formulas: LaTeX of the pages to MathML, so that a page needs no script to show them."""

import html
import itertools
import re
import unicodedata
from xml.etree import ElementTree

import latex2mathml.converter

_MATHML = "http://www.w3.org/1998/Math/MathML"
# Elements whose children stand beside each other, and those whose first child carries the others.
_ROWS = ("math", "mrow", "mstyle", "mtd")
_SCRIPTS = ("msub", "msup", "msubsup", "munder", "mover", "munderover")
# Functions whose limits are below them in a formula that has a line of its own.
_WITH_LIMITS = ("max", "min", "lim", "sup", "inf", "argmax", "argmin")
# What latex2mathml does not know, in words that it knows.
_REPLACEMENTS = {
    r"\\(begin|end){(align|gather)ed}": r"\\\1{\2*}",
    r"\\operatorname\*?{(\w+)\\?,?(\w*)}": r"\\operatorname{\1\2}",
    r"\\(math(?:bb|bf|cal|it|rm|sf)) ?([A-Za-z0-9])": r"\\\1{\2}",
}
# What the extension arithmatex has marked in a page.
_MARKED = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.S)
_CODE = re.compile(r"<(pre|code)\b.*?</\1>", re.S)


class FormulaError(ValueError):
    """A formula that has no MathML."""


def to_mathml(latex: str, is_block: bool) -> str:
    """The MathML of a formula.

    Args:
        latex: the formula without dollar signs.
        is_block: whether it has a line of its own.

    Raises:
        FormulaError: a command is unknown.
    """
    text = latex
    for pattern, replacement in _REPLACEMENTS.items():
        text = re.sub(pattern, replacement, text)
    try:
        mathml = latex2mathml.converter.convert(text, display="block" if is_block else "inline")
    except Exception as error:
        raise FormulaError(f"no MathML for the formula {latex!r}: {error!r}") from error
    if unknown := re.search(r">(\\[a-zA-Z]*|&)<", mathml):
        raise FormulaError(f"unknown {unknown[1]!r} in the formula {latex!r}")
    tree = ElementTree.fromstring(mathml)
    for element in list(tree.iter()):
        _mend(element)
        if is_block and _kind(element) == "msub" and element[0].text in _WITH_LIMITS:
            element.tag = f"{{{_MATHML}}}munder"
    for element in list(tree.iter()):
        if _kind(element) in _ROWS:
            _set_apart(element)
    ElementTree.register_namespace("", _MATHML)
    return ElementTree.tostring(tree, encoding="unicode")


def _kind(element: ElementTree.Element) -> str:
    return element.tag.partition("}")[2]


def _become(element: ElementTree.Element, kind: str, text: str) -> None:
    element.tag, element.text, element.attrib = f"{{{_MATHML}}}{kind}", text, {}


def _mend(element: ElementTree.Element) -> None:
    """Makes of an element what browsers know: words, bold letters, relations."""
    kind, text = _kind(element), element.text or ""
    letters = [child.text or "" for child in element if child.get("mathvariant") == "normal"]
    if kind == "mrow" and len(element) == len(letters) > 1:
        element[:] = []
        _become(element, "mi", "".join(letters))
    elif kind == "mo" and len(text) > 1 and text.isalpha():
        # A browser sets operators apart from a bracket, and KL is a function.
        _become(element, "mi", text)
    elif kind == "mi" and len(text) == 1 and unicodedata.category(text) in ("Sm", "Ps", "Pe"):
        _become(element, "mo", "∼" if text == "~" else text)
    elif "bold" in element.get("mathvariant", "") and len(text) == 1:
        style = element.get("mathvariant", "").replace("-", " ").upper()
        name = unicodedata.name(text).removeprefix("LATIN ").removeprefix("GREEK ")
        name = f"MATHEMATICAL {style} {name.replace('LETTER ', '')}"
        _become(element, kind, unicodedata.lookup(name))


def _is_function(element: ElementTree.Element) -> bool:
    core = element[0] if _kind(element) in _SCRIPTS else element
    return _kind(core) == "mi" and len(core.text or "") > 1 and str(core.text).isascii()


def _set_apart(row: ElementTree.Element) -> None:
    """Puts a thin space between a function and the names beside it: log p, not logp."""
    for left, right in itertools.pairwise(list(row)):
        follows = _is_function(left) and _kind(right) != "mo"
        precedes = _is_function(right) and (_kind(left) != "mo" or left.text in (")", "]"))
        if (follows or precedes) and "mspace" not in (_kind(left), _kind(right)):
            space = ElementTree.Element(f"{{{_MATHML}}}mspace", {"width": "0.1667em"})
            row.insert(list(row).index(right), space)


def in_page(page: str) -> str:
    """The HTML of a page, with MathML in place of its formulas.

    Raises:
        FormulaError: a formula has no MathML, or was not recognized as one.
    """

    def replacement(match: re.Match[str]) -> str:
        is_block = match[1] == "div"
        mathml = to_mathml(html.unescape(match[2]).strip(), is_block)
        return f'<div class="formula">{mathml}</div>' if is_block else mathml

    page = _MARKED.sub(replacement, page)
    if unmarked := re.search(r"\$\$.{,40}", _CODE.sub("", page), re.S):
        raise FormulaError(f"not recognized as a formula: {unmarked[0]!r}")
    return page
