"""Formulas become MathML, which a browser shows without a script."""

import re

import pytest

pytest.importorskip("latex2mathml", reason="needs the extra [docs]")

from website import formulas


def plain(mathml: str) -> str:
    """The characters of a formula; a thin space is a blank."""
    return re.sub(r"<[^>]*>", "", mathml.replace('<mspace width="0.1667em" />', " "))


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\log p(x)", "log p(x)"),
        (r"-\log|\det J|", "−log|det J|"),
        (r"\operatorname{KL}(q \| p)", "KL(q‖p)"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "a=bc=d"),
    ],
)
def test_a_formula_reads_as_in_the_paper(latex: str, expected: str) -> None:
    assert plain(formulas.to_mathml(latex, is_block=False)) == expected


@pytest.mark.parametrize("latex", [r"\foo{x}", r"\left( x", "a & b"])
def test_what_has_no_mathml_stops_the_build(latex: str) -> None:
    with pytest.raises(formulas.FormulaError, match=r"foo|left|&"):
        formulas.to_mathml(latex, is_block=True)


def test_only_marked_formulas_of_a_page_change() -> None:
    marked = r'<p>a <span class="arithmatex">\(x &lt; y\)</span></p><code>\(x\)</code>'
    page = formulas.in_page(marked)
    assert page.endswith(r"</p><code>\(x\)</code>")
    assert plain(page) == r"a x&lt;y\(x\)"
    assert formulas.in_page("<code>$$</code>") == "<code>$$</code>"
    with pytest.raises(formulas.FormulaError, match="not recognized"):
        formulas.in_page(r"<p>$$\log p</p>")
