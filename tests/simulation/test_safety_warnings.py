"""Doses above a safety limit are warned of with the first day and patient, whether titration or growth brings them."""

import numpy as np
import pytest

import ipex_pd as ipx
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.safety import SafetyLimits
from ipex_pd.simulation.safety import safety_warnings
from ipex_pd.simulation.tables import DoseTable

WHY = {"assumed": "an example"}
NAMES = ("first", "second")
TIMES = np.array([0.0, 10.0])
SIZES = {"weight": np.array([[10.0, 20.0], [10.0, 10.0]]), "bsa": np.ones((2, 2))}


def warned(limit, amounts, times=((1.0, 1.5, 9.0),) * 2, visits=(0.0, 8.0)):
    limits = SafetyLimits.model_validate({"drug": "d", "source": WHY} | limit)
    rows = ("d", "d", "d")
    table = DoseTable(rows, ("oral",) * 3, np.array(times), np.array(amounts), np.zeros((2, 3)))
    return list(safety_warnings([("d", limits)], table, SIZES, TIMES, np.array(visits), NAMES))


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({"single": "5 mg"}, []),
        ({"single": "4 mg"}, ["4 mg a dose is exceeded in 1 of 2 patients, first on day 9 in second (5 mg)"]),
        ({"daily": "5 mg/day"}, ["5 mg a day is exceeded in 1 of 2 patients, first on day 1 in first (6 mg)"]),
        # on day 8 the first child weighs 18 kg, the second still 10 kg
        (
            {"single": "0.45 mg/kg"},
            ["0.45 mg/kg a dose is exceeded in 1 of 2 patients, first on day 9 in second (0.5 mg/kg)"],
        ),
    ],
)
def test_the_first_day_and_patient_are_named(limit, expected):
    found = warned(limit, [[3.0, 3.0, 4.0], [2.0, 2.0, 5.0]])
    assert found == [f"d: the safety limit of {line}" for line in expected]


def test_a_titrated_dose_above_its_limit_is_warned_of():
    aim = {
        "low": "50 ng/mL",
        "high": "80 ng/mL",
        "sampling_days": [4, 8],
        "smallest_dose": "0.02 mg/kg/day",
        "largest_dose": "0.3 mg/kg/day",
        "source": WHY,
    }
    plan = Regimen.model_validate(
        {
            "name": "titrated",
            "description": "a target out of reach",
            "doses": [
                {
                    "drug": "fk506",
                    "amount": "0.15 mg/kg/day",
                    "route": "oral",
                    "every": "12 h",
                    "target_trough": aim,
                    "source": WHY,
                }
            ],
            "safety_limits": [{"drug": "fk506", "single": "0.1 mg/kg", "daily": "0.35 mg/kg/day", "source": WHY}],
        }
    )
    found = ipx.simulate(ipx.load_patient("seidel_2009"), plan, days=10, output_every="1 day")
    (line,) = [warning for warning in found.warnings if "safety limit" in warning]
    assert line == (
        "tacrolimus: the safety limit of 0.1 mg/kg a dose is exceeded in 1 of 1 patients, "
        "first on day 4 in seidel_2009 (0.15 mg/kg)"
    )
