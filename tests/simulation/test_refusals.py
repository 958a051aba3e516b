"""What simulate() refuses, and what it warns of."""

import numpy as np
import pytest

from ipex_pd.errors import RecordError, UsageError
from ipex_pd.numerics.drugs import bind_drug
from ipex_pd.records.library import load_drug, load_patient, load_regimen
from ipex_pd.records.patients import Patient
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation.individuals import assumed, require_size
from ipex_pd.simulation.population import single
from ipex_pd.simulation.simulation import simulate
from ipex_pd.simulation.study import output_grid

WHY = {"assumed": "a test"}


@pytest.fixture
def weightless() -> Patient:
    return Patient.model_validate(
        {
            "name": "weightless",
            "description": "a child whose weight nobody wrote down",
            "sex": "male",
            "age": {"value": "90 day", "source": WHY},
            "foxp3": {"value": "missense", "source": WHY},
        }
    )


def test_doses_by_weight_need_a_weight(weightless):
    with pytest.raises(RecordError) as error:
        simulate(weightless, load_regimen("sirolimus"), days=7)
    assert error.value.message == (
        "weightless: `weightless` has no weight, and `sirolimus` doses by body size. "
        "Doses in mg/kg or mg/m2 need the weight at the start. "
        "Write `weight: {value: 7.5 kg, source: ...}` or `weight_z: ...` in the patient file."
    )


def test_without_doses_by_weight_none_is_needed(weightless):
    require_size(single(weightless), load_regimen("untreated"))


def test_what_a_file_leaves_out_is_listed_as_assumed(weightless):
    lines = assumed([], [weightless])
    assert "weightless: haematocrit = 0.35 (not stated)" in lines
    assert any(line.startswith("weightless: height (not stated") for line in lines)


def test_a_trough_beyond_the_largest_dose_is_warned_of_with_what_was_reached():
    aim = {
        "low": "50 ng/mL",
        "high": "80 ng/mL",
        "sampling_days": [4, 8, 12],
        "smallest_dose": "0.02 mg/kg/day",
        "largest_dose": "0.2 mg/kg/day",
        "largest_step": 2,
        "source": WHY,
    }
    regimen = Regimen.model_validate(
        {
            "name": "too_high",
            "description": "a target that this dose cannot reach",
            "doses": [
                {
                    "drug": "tacrolimus",
                    "amount": "0.15 mg/kg/day",
                    "route": "oral",
                    "every": "12 h",
                    "target_trough": aim,
                    "source": WHY,
                }
            ],
        }
    )
    found = simulate(load_patient("seidel_2009"), regimen, days=14, output_every="7 day")
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith(
        "tacrolimus: the trough target 50 to 80 ng/mL was not reached at the largest dose allowed in 1 of 1 patients"
    )
    assert found.troughs.multiplier[0, -1] == pytest.approx(0.2 / 0.15)
    low = aim | {"low": "0.1 ng/mL", "high": "0.2 ng/mL", "smallest_dose": "0.1 mg/kg/day"}
    regimen = Regimen.model_validate(
        regimen.as_data() | {"doses": [regimen.as_data()["doses"][0] | {"target_trough": low}]}
    )
    (warning,) = simulate(load_patient("seidel_2009"), regimen, days=14, output_every="7 day").warnings
    assert warning.startswith(
        "tacrolimus: the trough target 0.1 to 0.2 ng/mL was exceeded at the smallest dose allowed in 1 of 1 patients"
    )


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"years": 1, "days": 3}, "both `years` and `days`"),
        ({"days": -1}, "a length of -1 days"),
        ({"days": 3, "every": "0 h"}, "outputs every `0 h`"),
        ({"times": [3.0, 1.0]}, "`output_times` do not rise from day 0 on"),
        ({"times": [1.0], "years": 1}, "`output_times` beside a length"),
    ],
)
def test_a_length_is_stated_once_and_more_than_zero(arguments, what):
    with pytest.raises(UsageError) as error:
        output_grid(**arguments)
    assert error.value.what == what


def test_a_variant_of_a_companion_counts_as_the_companion():
    tacrolimus = bind_drug(load_drug("tacrolimus"))
    theta = {"tacrolimus.bioavailability": np.ones(1)}
    body = {"age": np.full(1, 1000.0), "weight": np.full(1, 14.0)}
    share = [
        float(tacrolimus.bioavailability(theta, body, np.ones(1), {name: np.full(1, 20.0)})[0])
        for name in ("prednisolone", "prednisolone_veltkamp", "sirolimus")
    ]
    assert share[0] == share[1]
    assert share[0] == pytest.approx(1 - 0.67 * 100 / (35 + 100))
    assert share[2] == 1.0
