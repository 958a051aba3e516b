"""Drug files against the exposures that the same published models give by hand calculation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ipex_pd.records.drugs import Drug
from ipex_pd.records.library import load_drug
from ipex_pd.records.relations import CYP3A5, SWITCH_DEFAULTS


def child(**known: float) -> dict[str, Any]:
    base = {"age": 3650.0, "haematocrit": 0.4, "bilirubin": 11.29, "cyp3a5": float(CYP3A5.index("unknown"))}
    return {name: np.asarray(value) for name, value in (base | SWITCH_DEFAULTS | known).items()}


def individual(drug: Drug, covariates: dict[str, Any]) -> dict[str, float]:
    values = drug.values()
    for relation in drug.relations:
        if not relation.needs_dose:
            values[relation.on] *= float(relation.factor(np, covariates))  # type: ignore[union-attr]
    return values


def bioavailability(drug: Drug, covariates: dict[str, Any], amount: float, **daily: float) -> float:
    value = individual(drug, covariates)["bioavailability"]
    for relation in drug.relations:
        if relation.needs_dose:
            value *= float(relation.dose_factor(np, covariates, amount, daily))  # type: ignore[union-attr]
    return value


def test_tacrolimus() -> None:
    child_20_kg = child(weight=20.0)
    drug = load_drug("tacrolimus")
    auc = 3.0 / (individual(drug, child_20_kg)["clearance"] / 24)
    assert 1000 * auc == pytest.approx(258, rel=0.01)
    older = load_drug("tacrolimus_andrews_2018")
    typed = child(weight=20.0, cyp3a5=float(CYP3A5.index("nonexpresser")))
    assert 1000 * 3.0 / (individual(older, typed)["clearance"] / 24) == pytest.approx(146, rel=0.01)
    with_steroid = bioavailability(drug, child_20_kg, 3.0, prednisolone=10.0)
    assert with_steroid == pytest.approx(1 - 0.67 * 35 / (35 + 35))


def test_tacrolimus_in_infants() -> None:
    drug = load_drug("tacrolimus")
    newborn, infant, grown = (individual(drug, child(weight=10.0, age=age)) for age in (7.0, 365.25, 730.5))
    assert newborn["clearance"] < infant["clearance"] < grown["clearance"]
    assert newborn["bioavailability"] > infant["bioavailability"] > grown["bioavailability"] == 1.0


def test_ciclosporin() -> None:
    values = individual(load_drug("ciclosporin"), child(weight=30.0))
    assert 1000 * 75 * values["bioavailability"] / (values["clearance"] / 24) == pytest.approx(3070, rel=0.01)
    without = individual(load_drug("ciclosporin"), child(weight=30.0, immunoassay=0.0))
    assert values["clearance"] / without["clearance"] == pytest.approx(0.77)


def test_sirolimus() -> None:
    grown = individual(load_drug("sirolimus"), child(weight=28.5, age=1e9))
    assert 24 * np.log(2) * grown["volume_central"] / grown["clearance"] == pytest.approx(9.6, rel=0.02)
    cheng = individual(load_drug("sirolimus_cheng_2020"), child(weight=28.5))
    assert 24 * np.log(2) * cheng["volume_central"] / cheng["clearance"] == pytest.approx(17.7, rel=0.01)
    young = individual(load_drug("sirolimus"), child(weight=4.3, age=35.0))
    assert young["clearance"] / 24 / 4.3 == pytest.approx(0.11, abs=0.02)


@pytest.mark.parametrize(("dose", "peak", "auc"), [(20.0, 276, 2206), (60.0, None, 3834)])
def test_prednisolone(dose: float, peak: float | None, auc: float) -> None:
    drug, adult = load_drug("prednisolone"), child(weight=70.0)
    v = individual(drug, adult)
    amount = dose * bioavailability(drug, adult, dose)
    ka, k = v["absorption_rate"], v["clearance"] / v["volume_central"]
    time = np.linspace(0, 3, 60001)
    unbound = amount / v["volume_central"] * ka / (ka - k) * (np.exp(-k * time) - np.exp(-ka * time))
    total = unbound * (1 + v["binding_capacity"] / (1 + v["binding_affinity"] * unbound) + v["binding_linear"])
    assert 1000 * 24 * np.trapezoid(total, time) == pytest.approx(auc, rel=0.02)
    if peak is not None:
        assert 1000 * total.max() == pytest.approx(peak, rel=0.02)


def test_prednisone_is_prednisolone_mole_by_mole() -> None:
    adult = child(weight=70.0)
    prednisone, prednisolone = load_drug("prednisone"), load_drug("prednisolone")
    equal = 20.0 * 2790 / 2774
    given = 20.0 * bioavailability(prednisone, adult, 20.0)
    assert given == pytest.approx(equal * bioavailability(prednisolone, adult, equal), rel=1e-3)


def test_small_prednisolone_doses_are_held() -> None:
    drug, adult = load_drug("prednisolone"), child(weight=70.0)
    assert bioavailability(drug, adult, 0.5) == bioavailability(drug, adult, 5.0) > bioavailability(drug, adult, 6.0)


def test_methylprednisolone() -> None:
    values = individual(load_drug("methylprednisolone"), child(weight=70.0))
    after_an_hour = 1000 / values["volume_central"] * np.exp(-values["clearance"] / values["volume_central"] / 24)
    assert after_an_hour == pytest.approx(7.8, rel=0.02)


def test_rituximab() -> None:
    drug = load_drug("rituximab")
    values = individual(drug, child(bsa=1.8))
    a, b = (
        values["clearance"] / values["volume_central"],
        values["intercompartmental_clearance_1"] / values["volume_central"],
    )
    c = values["intercompartmental_clearance_1"] / values["volume_peripheral_1"]
    slow = ((a + b + c) - np.sqrt((a + b + c) ** 2 - 4 * a * c)) / 2
    assert np.log(2) / slow == pytest.approx(23.5, rel=0.02)
    losing = individual(drug, child(bsa=0.9, protein_loss=1.0))["clearance"]
    assert losing / 24 * 1000 == pytest.approx(8.69, rel=0.1)
