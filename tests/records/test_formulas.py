"""Formulas of files: what is read, what is refused, and in which words."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipex_pd.errors import IpexError, RecordError, UnknownKeyError
from ipex_pd.records.formulas import FUNCTIONS, Binary, Choice, Name, Number, parse_formula, require_names, walk


def test_names_are_what_the_formula_uses_and_functions_are_not():
    formula = parse_formula("tvcl * (wt / 70) ** 0.75 * exp(eta_cl) if occ == 1 else min(a, b, 3)")
    assert formula.names == {"tvcl", "wt", "eta_cl", "occ", "a", "b"}
    assert not formula.is_condition


def test_a_caret_is_a_power_and_binds_like_one():
    assert parse_formula("-a ^ 2 * b").tree == parse_formula("-(a ** 2) * b").tree
    assert parse_formula("a ^ b ^ c").tree == parse_formula("a ** (b ** c)").tree


def test_the_tree_says_what_was_meant():
    tree = parse_formula("x if x > 0 else 2").tree
    assert isinstance(tree, Choice)
    assert tree.yes == Name("x")
    assert tree.no == Number(2.0)
    assert parse_formula("a - b").tree == Binary("-", Name("a"), Name("b"))
    assert parse_formula("0 < x < 1").tree == parse_formula("0 < x and x < 1").tree


def test_a_plain_number_and_broken_lines_are_formulas():
    assert parse_formula(3).tree == Number(3.0)
    assert parse_formula("-2.5").tree == Number(-2.5)
    assert parse_formula("a +\n   b").tree == parse_formula("a + b").tree


@pytest.mark.parametrize(
    ("text", "code", "quoted"),
    [
        ("__import__('os').system('x')", "formula.function", "__import__('os').system"),
        ("().__class__", "formula.syntax", "().__class__"),
        ("a.b", "formula.syntax", "a.b"),
        ("x[0]", "formula.syntax", "x[0]"),
        ("lambda: 1", "formula.syntax", "lambda"),
        ("[x for x in y]", "formula.syntax", "[x for x in y]"),
        ("f'{x}'", "formula.syntax", "f'{x}'"),
        ("'text'", "formula.syntax", "'text'"),
        ("True", "formula.syntax", "True"),
        ("1j", "formula.syntax", "1j"),
        ("(x := 3)", "formula.syntax", "x := 3"),
        ("a; b", "formula.syntax", "; b"),
        ("a = 3", "formula.syntax", "= 3"),
        ("(a", "formula.syntax", "(a"),
        ("a # b", "formula.syntax", "#"),
        ("a // b", "formula.operator", "a // b"),
        ("a % b", "formula.operator", "a % b"),
        ("x is y", "formula.operator", "x is y"),
        ("x in y", "formula.operator", "x in y"),
        ("1e999", "formula.number", "1e999"),
        ("1" + "0" * 400, "formula.number", "1000"),
        ("exp", "formula.name", "exp"),
        ("exp(1, 2)", "formula.arguments", "exp(1, 2)"),
        ("exp(x=1)", "formula.arguments", "exp(x=1)"),
        ("min(x)", "formula.arguments", "min(x)"),
        ("max(*x, 1)", "formula.syntax", "*x"),
        ("1 if sex else 2", "formula.condition", "sex"),
        ("a and b > 1", "formula.condition", "a"),
        ("not a", "formula.condition", "a"),
        ("π * r", "formula.name", "π"),
        ("_x", "formula.name", "_x"),
        ("  ", "formula.empty", "empty"),
        ("-" * 300 + "x", "formula.deep", "nested"),
        ("+".join("x" * 500), "formula.deep", "nested"),
        ("(" * 300 + "x" + ")" * 300, "formula.syntax", "cannot be read"),
        ("x" * 30_000, "formula.long", "30000 characters"),
    ],
)
def test_what_is_outside_the_grammar_is_refused_and_quoted(text, code, quoted):
    with pytest.raises(RecordError) as caught:
        parse_formula(text)
    assert caught.value.code == code
    assert quoted in caught.value.what
    assert caught.value.cure


@pytest.mark.parametrize("value", [True, None, [1], {"a": 1}])
def test_only_text_and_numbers_are_formulas(value):
    with pytest.raises(RecordError, match="not a formula"):
        parse_formula(value)


def test_a_misspelt_function_is_told_the_nearest():
    with pytest.raises(RecordError, match="Nearest: `sqrt`"):
        parse_formula("1 + sqr(x)")


def test_a_misspelt_name_is_told_the_nearest_and_the_formula():
    formula = parse_formula("tvlc * exp(eta_cl)")
    with pytest.raises(UnknownKeyError, match=r"`tvlc` in `tvlc \* exp\(eta_cl\)` is not a parameter.*Nearest: `tvcl`"):
        require_names(formula, {"tvcl", "eta_cl"}, meaning="parameter")
    require_names(formula, {"tvlc", "eta_cl"})


def test_every_function_of_the_grammar_is_read():
    for name, count in FUNCTIONS.items():
        formula = parse_formula(f"{name}({', '.join('xyz'[:count])})")
        assert formula.names == set("xyz"[:count])


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="abx019.+-*/^()<>= ,if else and or not exp", max_size=40))
def test_any_text_is_either_a_formula_or_a_record_error(text):
    try:
        formula = parse_formula(text)
    except IpexError as error:
        code, formula = error.code, None
    if formula is None:
        assert code.startswith("formula.")
        return
    python = ast.parse(" ".join(text.replace("^", "**").split()), mode="eval")
    used = {node.id for node in ast.walk(python) if isinstance(node, ast.Name)}
    assert formula.names == used - set(FUNCTIONS)
    assert len(list(walk(formula.tree))) >= 1
