"""What the solver relies on: names, linearity in effects, rational rates, ranges kept by construction."""

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from ipex_pd.equations.ipex import ipex_model
from ipex_pd.equations.model import Model, compose
from ipex_pd.equations.symbols import age, declaration
from ipex_pd.equations.transplant import transplant
from ipex_pd.errors import ModelError

PROMISED = {
    "percent": "treg_percent functional_treg_percent",
    "cells/uL": "effector_t th2 b_cells eosinophils neutrophils lymphocytes cd4",
    "1": "short_lived_plasma long_lived_plasma ige_plasma oi_score oi_score_integer immunosuppression_index "
    "cumulative_hazard_infection cumulative_hazard_disease cumulative_hazard_transplant cumulative_hazard_gvhd "
    "cumulative_hazard_graft_failure",
    "ULN": "autoantibody",
    "IU/mL": "ige",
    "fraction": "gut_injury skin_injury liver_injury kidney_injury lung_injury blood_injury beta_cell_mass "
    "thyroid_mass renal_scarring chimerism chimerism_myeloid chimerism_t chimerism_b chimerism_treg survival",
    "ng/mL": "c_peptide",
    "SD": "weight_z height_z",
    "1/day": "infection_hazard death_hazard",
    "mg/kg": "steroid_burden",
    "day": "cni_burden",
}
UNSIGNED = ("weight_z", "height_z")
WHOLE = ("stem_host", "stem_donor"), ("t_host", "t_donor")


@pytest.fixture(scope="module")
def model() -> Model:
    return ipex_model()


def test_promised_quantities_are_there_in_their_unit(model):
    shown = {str(s): declaration(s).unit for s in (*model.states, *model.outputs)}
    for unit, names in PROMISED.items():
        for name in names.split():
            assert shown[name] == unit, name


def test_every_parameter_has_a_value_and_none_is_left_over(model, disease):
    assert {str(p) for p in model.parameters} == set(disease.names)
    for parameter in model.parameters:
        disease[str(parameter)].value_in(declaration(parameter).unit)


def test_targets_and_events(model):
    assert {str(p) for p in model.symbols("potency")} == {
        "potency_steroid", "potency_calcineurin", "potency_mtor", "potency_cd20",
    }  # fmt: skip
    assert [str(c) for c in model.event_covariates("transplant")] == [
        "b_cell_survival", "full_intensity", "graft_stem", "graft_t", "graft_treg", "gvhd_risk", "plasma_survival",
        "rejection_risk", "stem_survival", "t_cell_survival", "transplant_risk", "treg_survival",
    ]  # fmt: skip


def test_transplant_choices_name_event_covariates_or_usual_cells(model, choices):
    known = {str(c): declaration(c).unit for c in model.event_covariates("transplant")}
    known |= {"cd34_usual": "cells/kg", "cd3_usual": "cells/kg"}
    for parameter in choices.parameters:
        _, _, covariate = parameter.name.partition("__")
        parameter.value_in(known[covariate])
    assert {p.name.partition("__")[2] for p in choices.parameters} == set(known)


def test_rates_are_affine_in_effects(model):
    for rate in model.rates.values():
        for left in model.effects:
            slope = sympy.diff(rate, left)
            assert not slope.has(*model.effects)


def test_rates_and_maps_are_rational(model):
    for rate in (*model.rates.values(), *model.maps["transplant"].values()):
        assert sympy.sympify(rate).is_rational_function(*model.states, age)
        assert all(power.exp.is_Integer for power in sympy.sympify(rate).atoms(sympy.Pow))


def test_nothing_but_age_drives_the_rates_beside_effects(model):
    kinds = {declaration(s).kind for rate in model.rates.values() for s in sympy.sympify(rate).free_symbols}
    assert kinds <= {"state", "parameter", "effect", "time"}


def test_printed_symbols_are_told_apart(model):
    printed = [declaration(s).latex for s in model.symbols() if declaration(s).latex]
    assert len(printed) == len(set(printed))


def test_one_owner_for_each_name():
    with pytest.raises(ModelError, match="is defined by two subsystems"):
        compose("twice", transplant(), transplant())


class Inside:
    """Draws points within the ranges of states, effects and parameters, and evaluates rates there."""

    def __init__(self, model, child, disease):
        self.model, self.child = model, child
        self.order = [str(s) for s in model.states]
        self.parameters = [disease[str(p)] for p in child._parameters]

    def __repr__(self) -> str:
        return "Inside()"

    def draw(self, seed):
        random = np.random.default_rng(seed)
        values = {p.name: self._near(p, random) for p in self.parameters}
        states = {s: random.uniform(0, 1 if declaration(s).unit == "fraction" else 300) for s in self.model.states}
        states = {str(s): value for s, value in states.items()}
        for host, donor in WHOLE:
            states[donor] *= 1 - states[host]
        for z in UNSIGNED:
            states[z] = values[f"{z}_potential"] - random.uniform(0, 2)
        c, m = random.uniform(0, 1, 2)
        known = {"calcineurin_effect": c, "mtor_effect": m, "calcineurin_mtor_effect": c * m}
        effects = [known.get(str(u), random.uniform(0, 1)) for u in self.model.effects]
        return states, effects, values

    def _near(self, parameter, random):
        low, high = parameter.limits
        return float(np.clip(parameter.value * np.exp(random.uniform(-1, 1)), low, high))

    def rate(self, day, states, effects, values, name):
        rates = self.child._rates(day, [states[k] for k in self.order], effects, list(values.values()))
        return rates[self.order.index(name)]


@pytest.fixture(scope="module")
def inside(model, child, disease):
    return Inside(model, child, disease)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), day=st.floats(0, 6570))
def test_states_cannot_leave_their_range(inside, seed, day):
    states, effects, values = inside.draw(seed)

    def rate(name, **at):
        return inside.rate(day, {**states, **at}, effects, values, name)

    for name in inside.order:
        if name not in UNSIGNED:
            assert rate(name, **{name: 0.0}) >= 0, name
        if name.endswith(("_injury", "_mass", "_scarring")):
            assert rate(name, **{name: 1.0}) <= 1e-15, name
    for host, donor in WHOLE:
        full = {host: 0.3, donor: 0.7, "lymphoid_host": 0.3, "lymphoid_donor": 0.7}
        assert rate(host, **full) + rate(donor, **full) <= 1e-12
    lowest = values["weight_z_potential"] - values["weight_gut_loss"] - values["weight_skin_loss"]
    assert rate("weight_z", weight_z=lowest) >= -1e-12
    for z in UNSIGNED:
        assert rate(z, **{z: values[f"{z}_potential"]}) <= 1e-12


def test_fastest_rate_is_a_few_a_day(model, child, disease):
    """The mesh takes steps of hours: no rate constant may exceed a few a day."""
    values = [disease.values()[str(p)] for p in child._parameters]
    course = child.live(1.0, residual_function=0.0)
    x = [course[s][-1] for s in child.states]
    base = np.array(child._rates(365.0, x, [1.0] * len(model.effects), values))
    columns = []
    for i, value in enumerate(x):
        step = 1e-6 * max(abs(value), 1.0)
        moved = [*x[:i], value + step, *x[i + 1 :]]
        columns.append((np.array(child._rates(365.0, moved, [1.0] * len(model.effects), values)) - base) / step)
    assert np.abs(np.linalg.eigvals(np.array(columns).T)).max() < 5.0
