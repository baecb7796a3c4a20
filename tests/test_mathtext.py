"""Formulae as somebody reads them where there is no mathematics."""

from __future__ import annotations

import sys
from pathlib import Path

import lxml.html
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "_ext"))
from mathtext import replace_math

CASES = {
    "<mi>p</mi><mo>=</mo><mn>0.25</mn>": "p = 0.25",
    "<msub><mi>w</mi><mrow><mi>t</mi><mo>−</mo><mn>1</mn></mrow></msub>": "w_(t − 1)",
    "<msup><mi>x</mi><mn>2</mn></msup>": "x^2",
    "<mfrac><mi>a</mi><mrow><mi>b</mi><mo>+</mo><mn>1</mn></mrow></mfrac>": "a/(b + 1)",
    "<msqrt><msub><mi>d</mi><mi>k</mi></msub></msqrt>": "√d_k",
    "<mroot><mi>x</mi><mn>3</mn></mroot>": "root_3(x)",
    "<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover>"
    "<msub><mi>x</mi><mi>i</mi></msub>": "∑_(i = 1)^n x_i",
    "<mi>log</mi><mo>\u2061</mo><mi>P</mi><mo>(</mo><mi>x</mi><mo>∣</mo><mi>y</mi><mo>,</mo>"
    "<mi>z</mi><mo>)</mo>": "log P(x ∣ y, z)",
    "<mover><mi>y</mi><mo>^</mo></mover>": "y\u0302",
    "<msup><mi>A</mi><mo>⊤</mo></msup>": "A⊤",
    "<mtable><mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr>"
    "<mtr><mtd><mi>c</mi></mtd><mtd><mi>d</mi></mtd></mtr></mtable>": "a b; c d",
    "<semantics><mi>x</mi><annotation encoding='tex'>\\x</annotation></semantics>": "x",
    "<mtext>if </mtext><mi>x</mi>": "if x",
}


@pytest.mark.parametrize("mathml", CASES)
def test_mathml_becomes_one_line(mathml: str) -> None:
    page = lxml.html.fragment_fromstring(f"<p>So <math>{mathml}</math>.</p>")
    replace_math(page)
    assert page.text_content() == f"So {CASES[mathml]}."
    assert not page.xpath(".//math")


def test_a_displayed_formula_stands_alone() -> None:
    page = lxml.html.fragment_fromstring(
        '<div><div class="math"><math display="block"><mi>x</mi></math></div>After.</div>'
    )
    replace_math(page)
    assert lxml.html.tostring(page, encoding="unicode") == (
        '<div><div class="math"><p>x</p></div>After.</div>'
    )


def test_tex_loses_its_delimiters() -> None:
    page = lxml.html.fragment_fromstring('<p><span class="math">\\(p_t\\)</span> is</p>')
    replace_math(page)
    assert page.text_content() == "p_t is"
