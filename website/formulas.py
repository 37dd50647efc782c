"""Formulas: LaTeX of the pages to MathML, so that a page needs no script to show them."""

import html
import re

import latex2mathml.converter

# Functions that TeX separates from their neighbours by a thin space.
_FUNCTIONS = "arg|cos|det|dim|exp|lim|ln|log|max|min|sin|tanh|KL|Var|Cov|diag|sup|inf"
_SPACE = '<mspace width="0.1667em" />'
_FUNCTION = rf"<m([io])(?: [^<>]*)?>({_FUNCTIONS})</m\1>"
# Environments that latex2mathml knows under other names.
_ENVIRONMENTS = {"aligned": "align*", "gathered": "gather*", "equation": "align*"}
# What the extension arithmatex has marked in a page.
_MARKED = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.S)


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
    for name, known_name in _ENVIRONMENTS.items():
        latex = re.sub(rf"\\(begin|end){{{name}}}", rf"\\\1{{{known_name}}}", latex)
    try:
        mathml = latex2mathml.converter.convert(latex, display="block" if is_block else "inline")
    except Exception as error:
        raise FormulaError(f"no MathML for the formula {latex!r}: {error!r}") from error
    if unknown := re.search(r">(\\[a-zA-Z]*|&)<", mathml):
        raise FormulaError(f"unknown {unknown[1]!r} in the formula {latex!r}")
    # A function is not written into the name that follows it: log p, not logp.
    mathml = re.sub(rf"({_FUNCTION})(?=<m(?!o|space))", rf"\1{_SPACE}", mathml)
    return re.sub(rf"(</m(?:i|n|sub|sup|frac)>)(?={_FUNCTION})", rf"\1{_SPACE}", mathml)


def in_page(page: str) -> str:
    """The HTML of a page, with MathML in place of its formulas."""

    def replacement(match: re.Match[str]) -> str:
        is_block = match[1] == "div"
        mathml = to_mathml(html.unescape(match[2]).strip(), is_block)
        return f'<div class="formula">{mathml}</div>' if is_block else mathml

    return _MARKED.sub(replacement, page)
