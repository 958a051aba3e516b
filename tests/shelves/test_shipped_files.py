from __future__ import annotations

import pytest

from ipex_pd.records import library
from ipex_pd.records.parameters import Parameter
from ipex_pd.records.patients import Patient
from ipex_pd.records.plan_names import records_of
from ipex_pd.records.provenance import sources_in
from ipex_pd.records.yamlfile import from_data

EVERY = [(kind, name) for kind in library.KINDS for name in library.shipped(kind)]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_shipped_file_is_sound(kind: str, name: str) -> None:
    path = library.shipped(kind)[name]
    assert library.findings(path) == []
    assert library.kind_of(path) == kind
    record = library.load(path)
    assert record.name == name
    assert library.describe(record)
    assert from_data(type(record), record.as_data()) == record


@pytest.mark.parametrize("name", [*library.observed(), "measurements", "sources"])
def test_every_other_file_is_sound_and_told_in_words(name: str) -> None:
    path = library.files_of(name)[-1]
    assert library.findings(path) == []
    assert library.kind_of(path) in {"observations", "measurements", "citations"}
    assert len(library.describe(library.load(path))) > 2


@pytest.mark.parametrize("name", library.catalogue()["drugs"])
def test_every_drug_and_variant_gives_positive_values(name: str) -> None:
    drug = library.load_drug(name)
    values = drug.values()
    assert all(value >= 0 for value in values.values())
    assert all(values[key] > 0 for key in values if key != "lag")
    assert all(isinstance(p, Parameter) and p.source for p in drug.parameter_set().parameters)
    assert all(action.ec50.scale == "log" for action in drug.acts_on)


@pytest.mark.parametrize("name", library.shipped("regimens"))
def test_every_shipped_dose_has_a_source(name: str) -> None:
    regimen = library.load_regimen(name)
    assert all(order.dose.source is not None for order in regimen.orders)
    assert all(transplant.source is not None for transplant in regimen.transplants)
    rows = regimen.administrations(5 * 365.25)
    assert [row.time for row in rows] == sorted(row.time for row in rows)
    assert bool(rows) == (name != "untreated")


@pytest.mark.parametrize("name", library.shipped("plans"))
def test_every_number_of_a_plan_has_a_source(name: str) -> None:
    plan = library.load_plan(name)
    records = records_of(plan)
    assert all(line.source is not None for line in (*plan.free, *plan.limits, *plan.goals))
    assert all(order.dose.source is not None for regimen in records.regimens for order in regimen.orders)
    assert plan.fresh.seed != plan.ensemble.seed
    assert {regimen.name for regimen in records.compare_with} & set(library.shipped("regimens"))
    words = "\n".join(plan.in_words())
    assert words.count("Free: ") == len(plan.free)
    assert words.count("Limit: ") == len(plan.limits)


@pytest.mark.parametrize("name", library.shipped("patients"))
def test_every_patient_is_complete(name: str) -> None:
    patient = library.load_patient(name)
    assert isinstance(patient, Patient)
    assert set(patient.size_z()) == {"weight_z", "height_z"}
    assert all(source.reason or source.citations for _, source in sources_in(patient))


def test_every_citation_is_used_somewhere() -> None:
    used = {
        key
        for kind, name in EVERY
        for _, source in sources_in(library.load(library.shipped(kind)[name]))
        for key in source.citations
    }
    beside = {"mosteller_1987", "who_growth_2007", "who_growth_2006", "wallemacq_1998", "petersen_2003"}
    assert set(library.citations()) - used <= beside


def test_what_must_be_on_the_shelves() -> None:
    catalogue = library.catalogue()
    assert {
        "prednisolone",
        "prednisone",
        "methylprednisolone",
        "tacrolimus",
        "ciclosporin",
        "sirolimus",
        "rituximab",
    } <= {*catalogue["drugs"]}
    assert {"seidel_2009", "sibling_1", "sibling_2", "bul_2014", "magg_2018", "healthy_child"} <= {
        *catalogue["patients"]
    }
    assert {f"transplant_{when}_{how}" for when in ("early", "late") for how in ("reduced", "full")} <= {
        *catalogue["regimens"]
    }
    assert {
        "steroid_sparing_taper",
        "tacrolimus_trough",
        "bridge_and_transplant",
        "three_drugs_daily",
        "rituximab_days",
    } <= {*catalogue["plans"]}


def test_the_two_calcineurin_inhibitors_act_alike_at_the_means_of_the_shipped_regimens() -> None:
    tacrolimus, ciclosporin = (library.load_drug(n).values()["ec50_calcineurin"] for n in ("tacrolimus", "ciclosporin"))
    assert 0.326 / ciclosporin == pytest.approx(0.0098 / tacrolimus, rel=0.03)
    assert 0.127 < ciclosporin < 0.274, "within the interval of the measured value (D241)"
    assert library.load_drug("tacrolimus_iv").values()["ec50_calcineurin"] == tacrolimus


def test_methylprednisolone_matches_prednisolone_by_potency() -> None:
    oral, pulse = library.load_drug("prednisolone").values(), library.load_drug("methylprednisolone").values()
    dose = 28.84
    unbound = dose / oral["clearance"] / oral["ec50_steroid"]
    assert 0.8 * dose / pulse["clearance"] / pulse["ec50_steroid"] == pytest.approx(unbound, rel=5e-3)
