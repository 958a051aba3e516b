"""Formulas as array code: the numbers of Python's own arithmetic, and derivatives that stay finite."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from ipex_pd.errors import ModelError
from ipex_pd.numerics.formulas import compile_formula
from ipex_pd.records.formulas import parse_formula

PYTHON = {
    "exp": math.exp,
    "sqrt": math.sqrt,
    "tanh": math.tanh,
    "log1p": math.log1p,
    "abs": abs,
    "min": min,
    "max": max,
    "floor": math.floor,
}


def value(text, **values):
    return compile_formula(parse_formula(text))(values)


@pytest.mark.parametrize(
    "text",
    [
        "a + b * x - a / b",
        "-a ** 2 + (-a) ** 3",
        "x ** 7 / b ** -3",
        "a ** 0",
        "x ** 0.75 * b ** x",
        "(a if x > 1 else b) * 2",
        "1 if a < x <= b or not x == 2 else 0 if b > 1 else 3",
        "min(a, b, x) + max(x, 1) * abs(a - 5)",
        "sqrt(x) * tanh(a) + log1p(b) - exp(-x) + floor(x * 10)",
        "(x > 1) * 3 + (x < 1)",
    ],
)
def test_values_are_those_of_python(text):
    for a, b, x in [(1.3, 2.7, 0.4), (0.2, 5.0, 2.0), (3.0, 1.0, 1.5)]:
        here = eval(text, {"__builtins__": {}}, {**PYTHON, "a": a, "b": b, "x": x})
        assert float(value(text, a=a, b=b, x=x)) == pytest.approx(float(here), rel=1e-14)


def test_special_functions_are_those_of_scipy():
    p, z = np.array([1e-6, 0.3, 0.999]), np.array([-9.0, -0.3, 4.0])
    np.testing.assert_allclose(value("logit(p)", p=p), special.logit(p), rtol=1e-14)
    np.testing.assert_allclose(value("expit(z)", z=z), special.expit(z), rtol=1e-14)
    np.testing.assert_allclose(value("normal_cdf(z)", z=z), stats.norm.cdf(z), rtol=1e-12)
    np.testing.assert_allclose(value("log(p) + log10(p)", p=p), np.log(p) + np.log10(p), rtol=1e-14)


def test_arrays_are_taken_elementwise_in_float64():
    x = np.array([[1, 2], [3, 4]])
    result = value("x ** 2 + y", x=x, y=np.array([10, 20]))
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, [[11, 24], [19, 36]])


@pytest.mark.parametrize(
    ("text", "x", "expected"),
    [
        ("log(x) if x > 0 else 0", 0.0, 0.0),
        ("1 / x if x > 0 else 5 * x", 0.0, 5.0),
        ("sqrt(x - 1) if x > 1 else x", 1.0, 1.0),
        ("x ** g if x > 0 else 0", 0.0, 0.0),
        ("x ** -2 if x > 0 else x", 0.0, 1.0),
        ("exp(1000 * x) if x < 0.1 else x", 3.0, 1.0),
        ("(log(x) if x > 0 else 1) if x > -1 else log(-x)", 0.0, 0.0),
        ("logit(x) if x < 1 else 2 * x", 1.0, 2.0),
        ("x if x < 2 else log(x - 1) / (x - 1)", 1.0, 1.0),
    ],
)
def test_a_pole_in_the_branch_that_is_not_chosen_leaves_the_derivative_alone(text, x, expected):
    function = compile_formula(parse_formula(text))
    assert float(jax.grad(lambda v: function({"x": v, "g": 0.5}))(x)) == expected
    assert math.isfinite(jax.grad(jax.grad(lambda v: function({"x": v, "g": 0.5})))(x))


def test_a_missing_covariate_in_the_branch_that_is_not_chosen_leaves_other_derivatives_alone():
    function = compile_formula(parse_formula("cl * (wt if known > 0 else 70)"))
    slope = jax.grad(lambda cl: function({"cl": cl, "wt": float("nan"), "known": 0.0}))(2.0)
    assert float(slope) == 70.0


@pytest.mark.parametrize("gamma", [0.6, 1.0, 1.5, 2.0, 3.7])
def test_a_hill_term_at_concentration_zero_has_finite_derivatives_of_both_orders(gamma):
    function = compile_formula(parse_formula("c ** g / (ec50 ** g + c ** g)"))

    def effect(p):
        return function({"c": p[0], "g": p[1], "ec50": p[2]})

    at = np.array([0.0, gamma, 2.0])
    first = jax.grad(effect)(at)
    assert np.all(np.isfinite(first))
    assert np.all(np.isfinite(jax.hessian(effect)(at)))
    assert float(first[0]) == (0.5 if gamma == 1.0 else 0.0)
    assert float(first[1]) == 0.0


def test_a_square_root_at_zero_has_derivative_zero_and_elsewhere_the_true_one():
    function = compile_formula(parse_formula("sqrt(x)"))
    slope = jax.vmap(jax.grad(lambda v: function({"x": v})))(np.array([0.0, 4.0]))
    np.testing.assert_allclose(slope, [0.0, 0.25], rtol=1e-15)


@settings(max_examples=60, deadline=None)
@given(x=st.floats(0.1, 5.0), g=st.floats(0.2, 4.0))
def test_derivatives_agree_with_differences(x, g):
    text = "x ** g * exp(-x) / (1 + x ** 3) + (log(x) if x > 1 else sqrt(x)) * tanh(g * x)"
    function = compile_formula(parse_formula(text))

    def at(v):
        return float(function({"x": v, "g": g}))

    if abs(x - 1) < 1e-3:
        return
    slope = float(jax.grad(lambda v: function({"x": v, "g": g}))(x))
    h = 1e-5
    # central differences: error h^2 f''' + 1e-16 / h
    assert slope == pytest.approx((at(x + h) - at(x - h)) / (2 * h), rel=1e-6, abs=1e-7)


def test_outside_their_domain_functions_say_so():
    assert np.isnan(value("sqrt(x)", x=-1.0))
    assert np.isneginf(value("log(x)", x=0.0))
    assert np.isnan(value("log(x) if x < 0 else 1", x=-1.0))
    assert np.isposinf(value("1 / 0"))
    assert np.isposinf(value("0 ** -1"))
    assert float(value("1 / 0 if x > 0 else 3", x=-1.0)) == 3.0


def test_a_name_without_a_value_is_named():
    with pytest.raises(ModelError, match=r"`tvcl` has no value.*Nearest: `tvlc`"):
        value("tvcl * 2", tvlc=3.0)
