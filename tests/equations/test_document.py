"""The equations written out."""

import pytest

from ipex_pd.equations.document import equations_latex, equations_markdown, expression_latex
from ipex_pd.equations.immunity import cd4_normal
from ipex_pd.equations.ipex import ipex_model
from ipex_pd.equations.states import ige
from ipex_pd.equations.symbols import declaration


@pytest.fixture(scope="module")
def page(disease):
    return equations_markdown(ipex_model(), disease)


def test_every_name_stands_in_the_page(page):
    for symbol in ipex_model().symbols():
        if declaration(symbol).kind != "time":
            assert f"`{symbol}`" in page


def test_parameters_have_value_and_source(page, disease):
    row = next(line for line in page.splitlines() if "| `effector_loss` |" in line)
    assert "0.18 1/day" in row
    assert "reported: chen_2014 [D149, D150]" in row
    assert "not in the set" not in page


def test_each_state_has_an_equation(page):
    assert page.count(r"\frac{d") >= len(ipex_model().states)
    assert r"\frac{dI_E}{da}" in page


def test_without_values_the_table_has_no_source():
    plain = equations_markdown()
    assert "| symbol | name | unit | meaning |" in plain
    assert "| value | source |" not in plain


def test_shorthands():
    assert expression_latex(cd4_normal * ige) in (r"I_E C_n(a)", r"C_n(a) I_E")


def test_latex_document_is_whole(disease):
    text = equations_latex(ipex_model(), disease)
    assert text.startswith(r"\documentclass{article}")
    assert text.endswith("\\end{document}\n")
    assert text.count(r"\begin{dmath*}") == text.count(r"\end{dmath*}") > len(ipex_model().states)
    assert "effector\\_loss & 1/day" in text
