"""What event tables refuse, word for word."""

import numpy as np
import pytest
from test_eventtable import ALL_DOSES, ORAL, subject, wide

from ipex_pd.errors import ModelError, SimulationError, SolverError
from ipex_pd.numerics.eventtable import check_values, propagate, refine
from ipex_pd.numerics.rowplan import plan_rows
from ipex_pd.numerics.structures import library_structure, ode_structure

ONE = library_structure(1, True)
SATURABLE = ode_structure({"central": "-vmax * central / (km + central)"})


@pytest.mark.parametrize(
    ("rows", "structure", "doses", "message"),
    [
        (
            [(2, 0), (1, 0)],
            ONE,
            {},
            "subject 1, row 3: TIME decreases. Inside a subject TIME restarts only at EVID 3 or 4. Sort the rows.",
        ),
        ([(0, 5)], ONE, {}, "subject 1, row 2: EVID 5. EVID is 0, 1, 2, 3 or 4."),
        ([(0, 2, 0, -1)], ONE, {}, "a compartment is switched off"),
        ([(0, 1, 100, 3)], ONE, {}, "subject 1, row 2: CMT 3. Doses go to compartments 1 to 2."),
        ([(0, 1, -5, 1)], ONE, {}, "AMT -5"),
        ([(0, 1, 0, 1, 10)], ONE, {}, "an infusion without AMT"),
        ([(0, 1, 10, 1, -3)], ONE, {}, "RATE -3"),
        (
            [(0, 1, 10, 1, -2)],
            ONE,
            ALL_DOSES,
            "subject 1, row 2: RATE -2 without a modelled duration. It takes the duration of doses into `depot` "
            "from the model. Name it under doses.depot.duration.",
        ),
        ([(0, 1, 10, 2, 0, 0, 0, 2)], ONE, {}, "ADDL without II"),
        ([(0, 1, 10, 2, 0, 0, 8, -1)], ONE, {}, "ADDL -1"),
        ([(0, 1, 10, 2, 0, 1)], ONE, {}, "SS without II"),
        ([(0, 1, 10, 2, 0, 4, 8)], ONE, {}, "SS 4"),
        ([(0, 1, 0, 2, 5, 1, 8)], ONE, {}, "SS without AMT"),
        ([(0, 1, 10, 1, 0, 2, 8)], SATURABLE, {}, "SS 2 with nonlinear rates"),
        (
            [(0, 1, 10, 1, 0, 2, 8)],
            ode_structure({"r": "kin - kout * r"}),
            {},
            "SS 2 with production at a constant rate",
        ),
        ([(0, 1, 10, 1, 0, 1, 8)], ode_structure({"r": "-r * time"}), {}, "SS with rates that depend on time"),
    ],
)
def test_records_that_cannot_be_honoured(rows, structure, doses, message):
    with pytest.raises(SimulationError) as caught:
        plan_rows([subject(*rows)], structure, doses)
    assert message in str(caught.value)
    assert "subject 1, row" in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "changed", "message"),
    [
        ([(0, 1, 10, 2), (1, 0)], {"lag": -0.1}, "record 0: a lag below 0"),
        ([(0, 1, 10, 2), (1, 0)], {"f": -0.1}, "record 0: a bioavailability below 0"),
        ([(0, 0), (1, 1, 10, 2, -2)], {"duration": 0.0}, "record 1: a modelled duration not above 0"),
        ([(0, 1, 10, 2, -1), (1, 0)], {"rate": 0.0}, "record 0: a modelled rate not above 0"),
        ([(0, 1, 10, 2, 0, 1, 8), (1, 0)], {"lag": 9.0}, "record 0: a lag longer than II at steady state"),
        ([(0, 1, 10, 2, -2, 1, 8), (1, 0)], {"duration": 50.0}, "too many infusions overlap at steady state"),
    ],
)
def test_values_without_meaning_give_no_numbers(rows, changed, message):
    plan = plan_rows([subject(*rows), subject((0, 1, 10, 1), (1, 0))], ONE, ALL_DOSES)
    good = ORAL | {"lag": 0.2, "f": 0.9, "duration": 2.0, "rate": 3.0}
    values = {n: v.copy() for n, v in wide(plan, **good).items()}
    check_values(plan, values)
    for name, value in changed.items():
        values[name][0] = value
    with pytest.raises(SimulationError) as caught:
        check_values(plan, values)
    assert message in str(caught.value)
    amounts = np.asarray(propagate(plan, values))
    assert np.all(np.isnan(amounts[0]))
    assert np.all(np.isfinite(amounts[1]))


def test_a_nonlinear_plan_needs_its_mesh_and_a_steady_state_that_exists():
    plan = plan_rows([subject((0, 1, 100, 1, 0, 1, 8), (1, 0))], SATURABLE)
    values = wide(plan, vmax=10.0, km=5.0)
    with pytest.raises(SimulationError, match="Call `refine` first"):
        propagate(plan, values)
    with pytest.raises(SolverError, match="no steady state was found"):
        refine(plan, values)


def test_values_must_be_there_in_their_shape():
    plan = plan_rows([subject((0, 1, 100, 1), (1, 0))], ONE)
    values = wide(plan, **ORAL)
    with pytest.raises(SimulationError, match="no value `absorption_rate`"):
        propagate(plan, {n: v for n, v in values.items() if n != "absorption_rate"})
    with pytest.raises(SimulationError, match=r"`clearance` has shape \(1, 3\)"):
        propagate(plan, values | {"clearance": np.ones((1, 3))})
    constant = propagate(plan, values | {"clearance": values["clearance"][:, :1]})
    assert np.array_equal(constant, propagate(plan, values))


def test_names_that_do_not_exist():
    with pytest.raises(ModelError, match="doses: `gut` is not a compartment"):
        plan_rows([subject((0, 0))], ONE, {"gut": {"lag": "lag"}})
    with pytest.raises(ModelError, match=r"doses.depot: `alag` is unknown"):
        plan_rows([subject((0, 0))], ONE, {"depot": {"alag": "lag"}})
    with pytest.raises(ModelError, match="`b` is not a compartment"):
        ode_structure({"a": "-a"}, default_dose="b")


@pytest.mark.parametrize(
    ("rate", "route"),
    [
        ("-k * r + kin * w ** 2", "exponential"),
        ("-k * r if w > 70 else -2 * k * r", "exponential"),
        ("-k * r if r > 70 else 0", "mesh"),
        ("-k * r * time", "mesh"),
        ("-k * r / (1 + r)", "mesh"),
        ("-k * max(r, 0)", "mesh"),
        ("-k * r * r", "mesh"),
    ],
)
def test_linear_rates_are_recognised(rate, route):
    assert ode_structure({"r": rate}).route == route
