"""The synthetic cohort: what it says of itself, that it is read back, and that doses given are those simulated."""

from __future__ import annotations

import numpy as np
import pytest

import ipex_pd as ipx
from ipex_pd.cli.main import run
from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.numerics.solve import SolverOptions
from ipex_pd.records.cohorts import load_cohort
from ipex_pd.simulation.cohort import draw_cohort
from ipex_pd.simulation.cohort_design import DESIGN, Design, plans
from ipex_pd.simulation.cohort_histories import as_given
from ipex_pd.simulation.population import virtual_population

SHORT = Design(regimens={"sirolimus": 1.0}, years=(0.2, 0.3), first_visits=(14.0, 42.0))
FAST = SolverOptions(audit="off")


@pytest.fixture(scope="module")
def drawn():
    return draw_cohort(2, seed=3, name="synthetic_test", varies=["th2_share"], design=SHORT)


def test_a_cohort_is_read_back_as_it_was_drawn(drawn, tmp_path):
    record, table, truth = drawn.save(tmp_path)
    assert [p.name for p in (record, table, truth)] == [
        "synthetic_test.yaml",
        "synthetic_test.csv",
        "synthetic_test_truth.csv",
    ]
    data = load_cohort(record)
    assert data.description.startswith("SYNTHETIC: 2 virtual boys")
    kept = int((drawn.table["MDV"] == 0).sum())
    assert len(data.table) == kept
    assert data.missing == len(drawn.table) - kept
    assert all(order.titration is None for regimen in data.regimens for order in regimen.orders)
    assert data.regimens[0].name == "sirolimus_as_given"


def test_the_truth_stands_apart(drawn):
    assert set(drawn.truth) == {"ID", "regimen", "foxp3", "age", "th2_share", "residual_function"}
    assert "th2_share" not in drawn.table.columns
    assert drawn.truth["th2_share"].nunique() == 2


def test_the_same_seed_gives_the_same_child_in_any_number(drawn):
    one = draw_cohort(1, seed=3, name="synthetic_test", varies=["th2_share"], design=SHORT)
    first = drawn.table[drawn.table["ID"] == 1].reset_index(drop=True)
    assert one.table.equals(first)


def test_children_have_errors_of_their_own(drawn):
    weights = drawn.table[(drawn.table["DVID"] == "weight") & (drawn.table["MDV"] == 0)]
    assert weights["DV"].nunique() > 3


def test_visits_and_treatments_follow_the_design():
    made = list(plans(DESIGN, seed=5, children=60))
    names = {plan.shelf for plan in made}
    assert {"untreated", "sirolimus", "prednisolone_tacrolimus"} <= names
    for plan in made:
        gaps = np.diff(plan.visits[3:])
        assert plan.visits[0] == 0
        assert np.all((gaps >= 83) & (gaps <= 191))
        assert plan.visits[-1] <= DESIGN.years[1] * 365.25
        assert 14 <= plan.age <= 730
        assert np.isfinite(plan.graft) == bool(plan.regimen.transplants)
        assert np.all(plan.assays(("chimerism",))["chimerism"] >= plan.graft + 14)
    assert len({plan.graft for plan in made if np.isfinite(plan.graft)}) > 3


def test_doses_as_given_make_the_same_course():
    group = virtual_population(ipx.load_patient("seidel_2009"), 2, seed=1)
    plan, days = ipx.load_regimen("sirolimus"), np.arange(0.0, 200.0, 25.0)
    course = ipx.simulate(group, plan, output_times=days, options=FAST)
    given = as_given(plan, course, 1)
    again = ipx.simulate(group.pick([1]), given, output_times=days, options=FAST)
    assert len(given.doses) > 1
    for quantity in ("sirolimus", "ige", "weight"):
        assert again[quantity][0] == pytest.approx(course[quantity][1], rel=1e-5, abs=1e-9)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(UsageError, match="The name of a synthetic cohort begins with `synthetic_`"):
        draw_cohort(1, seed=1, name="ipex_children")
    with pytest.raises(UsageError, match="`ige_decay` does not vary between children"):
        draw_cohort(1, seed=1, varies=["ige_decay"])
    child = ipx.load_patient("seidel_2009")
    course = ipx.simulate(child, ipx.load_regimen("untreated"), days=20, options=FAST)
    with pytest.raises(SimulationError, match="the simulation is of `untreated`"):
        as_given(ipx.load_regimen("sirolimus"), course)


def test_the_command_does_not_write_over_a_cohort(tmp_path, capsys):
    (tmp_path / "synthetic_ipex.csv").write_text("ID\n")
    assert run(["cohort", "--children", "1", "--out", str(tmp_path)]) == 1
    assert "Choose another --name, or add --overwrite" in capsys.readouterr().err.replace("\n", " ")
    assert (tmp_path / "synthetic_ipex.csv").read_text() == "ID\n"
