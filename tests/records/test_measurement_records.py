"""Measurements as records: the shipped file, what drugs give, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipex_pd.errors import RecordError, SourceError, UnitError, UnknownKeyError
from ipex_pd.records import library
from ipex_pd.records.measurements import Assay, Measurement, Measurements, level_of
from ipex_pd.records.provenance import sources_in
from ipex_pd.records.yamlfile import from_data
from ipex_pd.units import convert, same_dimension

HEAD = "name: mine\ndescription: my own\nmeasurements:\n"
IGE = """  ige:
    quantity: ige
    unit: IU/mL
    meaning: IgE
    error: {kind: lognormal, cv: 10 %, source: {assumed: an example}}
"""
LIMITS = (("lloq", 9), ("uloq", 8))


def refused(folder: Path, text: str) -> RecordError:
    path = folder / "mine.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(RecordError) as error:
        library.load_measurements(path)
    return error.value


def test_the_shipped_file_holds_every_measurement_of_the_model() -> None:
    shelf = library.load_measurements().measurements
    assert {
        "ige",
        "autoantibody",
        "cd19",
        "treg",
        "chimerism",
        "eosinophils",
        "c_peptide",
        "thyroid_state",
        "stool_severity",
        "skin_severity",
        "weight",
        "oi_score",
        "diabetes_onset",
        "enteropathy_onset",
        "death",
    } <= {*shelf}
    assert {item.kind for item in shelf.values()} == {
        "additive",
        "lognormal",
        "logit_normal",
        "ordinal",
        "event",
        "survival",
    }


def test_every_shipped_number_has_a_source() -> None:
    record = library.load_measurements()
    assert all(source.reason or source.citations for _, source in sources_in(record))
    assert set(record.sources) <= {key for _, source in sources_in(record) for key in source.citations}
    assert from_data(Measurements, record.as_data()) == record


def test_it_is_no_parameter_set() -> None:
    assert "measurements" not in library.shipped("parameters")
    assert "measurements" not in library.catalogue()["parameters"]


@pytest.mark.parametrize("name", library.catalogue()["drugs"])
def test_a_level_has_the_residual_error_of_its_drug(name: str) -> None:
    drug = library.load_drug(name)
    if drug.residual is None:
        with pytest.raises(RecordError, match="states no residual error"):
            level_of(drug)
        return
    item = level_of(drug)
    assert item.name == f"{name}_level"
    assert item.quantity == name
    assert same_dimension(item.unit, "mg/L")
    assert item.error.source == drug.residual.source  # type: ignore[union-attr]
    assert getattr(item.error, "cv", 0.0) == drug.residual.proportional


def test_limits_of_drugs_are_in_the_unit_of_the_drug() -> None:
    assays = library.load_measurements().assays
    assert set(assays) <= set(library.shipped("drugs"))
    rituximab = level_of(library.load_drug("rituximab"), assays)
    assert rituximab.lloq is not None
    assert convert(rituximab.lloq.value, rituximab.unit, "mg/L") == pytest.approx(2)
    variant = level_of(library.load_drug("tacrolimus_andrews_2018"), assays)
    assert variant.lloq == assays["tacrolimus"].lloq
    with pytest.raises(RecordError, match="`kg` is not a mass concentration"):
        from_data(Assay, {"unit": "kg", "lloq": {"value": 1, "source": {"assumed": "an example"}}})


def test_the_level_of_tacrolimus() -> None:
    error = level_of(library.load_drug("tacrolimus")).error
    assert (error.kind, error.cv, error.sd) == ("combined", 0.21, 0.28)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            IGE.replace("quantity: ige", "quantity: ige\n    lloqq: 2"),
            UnknownKeyError,
            "mine.yaml:6 measurements.ige.lloqq: `lloqq` is not a key of a measurement. Nearest: `lloq`, `uloq`. "
            "Rename it or take it out.",
        ),
        (
            IGE.replace(", source: {assumed: an example}", ""),
            SourceError,
            "mine.yaml:8 measurements.ige.error: a number has no source. Every number has a source, or says `assumed` "
            "with a reason. Write `source: {reported: key_in_sources_yaml}` or `source: {assumed: why}`.",
        ),
        (
            IGE.replace("assumed: an example", "reported: nobody_1900"),
            SourceError,
            "mine.yaml:8 measurements.ige.error.source: `nobody_1900` is not a known citation.",
        ),
        (
            IGE.replace("lognormal, cv: 10 %", "logit_normal, sd: 1"),
            UnitError,
            "mine.yaml:6 measurements.ige.unit: `ige` is in `IU/mL`. It must be a share of a whole.",
        ),
        (
            IGE.replace("lognormal, cv: 10 %", "ordinal, cuts: [2, 1], levels: [a, b, c]"),
            RecordError,
            "`cuts` do not rise. Cut points stand in rising order, each once.",
        ),
        (
            IGE.replace("lognormal, cv: 10 %", "ordinal, cuts: [1, 2], levels: [a, b]"),
            RecordError,
            "2 levels for 2 cuts. There is one level more than cut points. Name every level once.",
        ),
        (
            IGE.replace("lognormal, cv: 10 %", "event, side: above, threshold: 1")
            + "    lloq: {value: 1, source: {assumed: an example}}\n",
            RecordError,
            "`ige` is event and has a limit. Limits belong to assays.",
        ),
        (
            IGE + "".join(f"    {end}: {{value: {at}, source: {{assumed: an example}}}}\n" for end, at in LIMITS),
            RecordError,
            "`uloq` 8 is out of range. It lies above 9 and below inf.",
        ),
        (IGE.replace("lognormal", "lognormall"), UnknownKeyError, "`lognormall` is not known here."),
        (IGE.replace("IU/mL", "florins"), UnitError, "`florins` is not a unit."),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, kind: type[RecordError], message: str) -> None:
    error = refused(tmp_path, text)
    assert type(error) is kind
    assert message in str(error)


def test_a_measurement_has_one_name() -> None:
    item = {"name": "other", "quantity": "ige", "unit": "IU/mL", "meaning": "IgE", "error": {"kind": "survival"}}
    with pytest.raises(RecordError, match="It must be a share of a whole"):
        from_data(Measurement, item)
    item |= {"unit": "fraction"}
    with pytest.raises(RecordError, match="`ige` is called `other` inside"):
        from_data(Measurements, {"name": "mine", "description": "my own", "measurements": {"ige": item}})
