"""States at rest and filters of drug effects are told from the equations alone."""

import sympy

from ipex_pd.equations.ipex import ipex_model
from ipex_pd.equations.model import Model
from ipex_pd.equations.reduction import remainder, staying_at_rest, staying_zero, thinned, undriven
from ipex_pd.equations.symbols import effect, parameter, potency, state

A, B, C = (state(f"moving_{n}", "1", f"state {n}") for n in "abc")
K = parameter("moving_k", "1/day", "a rate")
FORCE = potency("moving_target", "a drug")
PUSH = effect("moving_push", "its effect")
EFFECTS = {PUSH: FORCE / (1 + FORCE)}


def model(**rates):
    names = {"a": A, "b": B, "c": C}
    chosen = {names[n]: sympy.sympify(r) for n, r in rates.items()}
    return Model("moving", chosen, dict.fromkeys(chosen, K * 0), EFFECTS)


def test_a_state_that_another_feeds_does_not_stay_zero():
    chain = model(a=K * B, b=-K * B, c=K * C)
    assert staying_zero(chain, [A, B, C], []) == (A, B, C)
    assert staying_zero(chain, [A, C], []) == (C,)


def test_zeros_and_absent_drugs_leave_the_rates():
    pushed = model(a=PUSH * (1 - A) - K * B, b=-K * B)
    assert thinned(pushed, [B], []) == {A: PUSH * (1 - A), B: 0}
    assert thinned(pushed, [B], ["moving_target"]) == {A: 0, B: 0}


def test_rest_needs_neighbours_at_rest():
    chain = model(a=K * (1 - A - B), b=K * (C - B), c=PUSH - C)
    balanced = undriven(chain, dict(chain.rates))
    assert set(balanced) == {A, B}
    assert staying_at_rest(chain, balanced) == ()
    assert staying_at_rest(chain, {A: K * (1 - A), B: K * (A - B)}) == (A, B)


def test_a_filter_has_a_drive_and_a_decay_of_its_own():
    left = remainder(model(a=K * (PUSH - A), b=PUSH, c=-C * A + PUSH * C), [], [], [])
    assert [str(s) for s in left.moving] == ["moving_c"]
    assert [(f.state, f.decay, f.used) for f in left.filters] == [(A, K, True), (B, 0, False)]
    assert sympy.expand(left.filters[0].drive - K * PUSH) == 0
    assert list(left.linear.values()) == [left.filters[0].drive, K, PUSH, 0]
    assert left.inputs == (PUSH,)


def test_a_decay_that_a_drug_changes_is_no_filter():
    left = remainder(model(a=K - PUSH * A), [], [], [])
    assert left.filters == ()
    assert list(left.moving) == [A]


def test_a_child_without_a_transplant_keeps_no_donor_cells():
    disease = ipex_model()
    donors = [s for s in disease.states if "donor" in str(s)]
    others = [s for s, start in disease.initial.items() if start == 0]
    still = staying_zero(disease, others, ())
    assert donors
    assert set(donors) <= set(still)
    left = remainder(disease, still, [], ())
    assert {str(f.state) for f in left.filters} >= {"steroid_signal", "steroid_burden", "cni_burden"}
    assert not any(right.has(*donors) for right in left.moving.values())
