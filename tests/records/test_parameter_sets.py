from __future__ import annotations

import math
from pathlib import Path

import pytest

from ipex_pd.errors import IpexError, RecordError, SourceError, UnitError, UnknownKeyError
from ipex_pd.records.parameters import Parameter, ParameterSet, Variability
from ipex_pd.records.provenance import Source
from ipex_pd.records.yamlfile import from_data


def parameter(**changes: object) -> dict[str, object]:
    return {"value": 0.3, "unit": "1/day", "meaning": "a rate", "source": {"assumed": "chosen"}} | changes


def make(**changes: object) -> ParameterSet:
    data = {"name": "s", "description": "d", "is_not": "n", "parameters": {"rate": parameter(**changes), "flow": FLOW}}
    return from_data(ParameterSet, data, where="here")


FLOW = parameter(value=2, unit="L/h", bounds=[1, 10], scale="log", variability={"cv": "30 %"})


def test_values_in_asked_units() -> None:
    chosen = make()
    assert chosen.values() == {"rate": 0.3, "flow": 2.0}
    assert chosen.values({"flow": "L/day"}) == pytest.approx({"rate": 0.3, "flow": 48.0})
    with pytest.raises(UnitError, match="cannot be turned into"):
        chosen.values({"flow": "L"})
    with pytest.raises(UnknownKeyError) as caught:
        chosen.values({"flwo": "L"})
    assert str(caught.value) == "`flwo` is not a parameter of `s`. Nearest: `flow`. Rename it."


def test_replace_keeps_the_rest_and_says_so() -> None:
    old = make()
    new = old.replace({"flow": "60 mL/min", "rate": 0.5}, reason="a question")
    assert new["flow"].value == pytest.approx(3.6)
    assert new["rate"].source == Source(kind="assumed", note="a question")
    assert old["flow"].value == 2.0
    assert old.replace({"rate": 1})["rate"].source.reason == "set in place of 0.3 1/day (assumed: chosen)"
    whole = Parameter.model_validate({"name": "rate"} | parameter(value=9))
    assert old.replace({"rate": whole})["rate"].value == 9
    with pytest.raises(RecordError) as caught:
        old.replace({"flow": 20})
    assert str(caught.value) == (
        "`flow` cannot be 20 L/h. Its bounds are 1 to 10. Choose a value inside, or change the bounds in the file."
    )
    with pytest.raises(RecordError, match="cannot be nan"):
        old.replace({"rate": math.nan})


def test_round_trip(tmp_path: Path) -> None:
    chosen = make(uncertainty={"interval": [0.1, 0.5]}, bounds=[None, 1])
    chosen.save(tmp_path / "set.yaml")
    assert ParameterSet.load(tmp_path / "set.yaml") == chosen


def test_citations_are_looked_up(tmp_path: Path) -> None:
    chosen = make(source={"reported": "smith_2001", "evidence": "D001"})
    chosen.save(tmp_path / "set.yaml")
    assert ParameterSet.load(tmp_path / "set.yaml", citations=["smith_2001"]) == chosen
    with pytest.raises(SourceError) as caught:
        ParameterSet.load(tmp_path / "set.yaml", citations=["smith_2011"])
    assert str(caught.value).endswith(
        "set.yaml:9 parameters.rate.source: `smith_2001` is not a known citation. Nearest: `smith_2011`. "
        "Add it to parameters/sources.yaml or to `sources:` in this file."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"bounds": [1, 2]},
            "`rate` is 0.3 1/day, outside its bounds 1 to 2. A value lies inside its bounds. "
            "Change the value, or the bounds with a reason.",
        ),
        ({"value": -1, "scale": "log"}, "`rate` is on a log scale and not positive. Log scale needs positive values."),
        (
            {"scale": "logit", "bounds": [0, None]},
            "`rate` is on a logit scale and not between two bounds. Logit scale needs low < value < high.",
        ),
        ({"variability": {"cv": 0.2, "sd": 0.1}}, "variability needs one of `cv` and `sd`. A spread is stated once."),
        (
            {"variability": {"distribution": "logit", "cv": 0.1}},
            "a logit variability needs `sd`. On the logit scale a spread is a standard deviation.",
        ),
        ({"variability": {"cv": -0.2}}, "`-0.2` is out of range. `cv` must be at least 0."),
        (
            {"variability": {"cv": "20 kg"}},
            "`kg` cannot be turned into `1`. Both must measure the same thing. "
            "Write the value in `1` or a multiple of it.",
        ),
        ({"uncertainty": {}}, "uncertainty needs one of `rse`, `sd`, `interval`, `range`. It is stated once."),
        ({"uncertainty": {"range": [2, 1]}}, "`2` is above `1`. An interval is written [low, high]."),
        ({"source": "Smith 2001"}, "`Smith 2001` is not a source. {rule}"),
        ({"source": {"reported": []}}, "a reported number names no citation. {rule}"),
        ({"source": {"assumed": " "}}, "`assumed` gives no reason. {rule}"),
        (
            {"source": {"assumed": "x", "fitted": "y"}},
            "a source says exactly one of reported, derived, fitted, assumed. {rule}",
        ),
        (
            {"source": {"derived": "x", "note": "y"}},
            "`note` beside `derived`: the reason stands after `derived:` itself. {rule}",
        ),
    ],
)
def test_rules(changes: dict[str, object], message: str) -> None:
    rule = (
        "Every number has a source, or says `assumed` with a reason. "
        "Write `source: {reported: key_in_sources_yaml}` or `source: {assumed: why}`."
    )
    with pytest.raises(IpexError) as caught:
        make(**changes)
    assert str(caught.value).split(": ", 1)[1] == message.replace("{rule}", rule)


def test_eta_sd() -> None:
    assert Variability(cv=0.3).eta_sd(5) == pytest.approx(math.sqrt(math.log(1.09)))
    assert Variability(distribution="normal", cv=0.1).eta_sd(-5) == pytest.approx(0.5)
    assert Variability(distribution="normal", sd=0.7).eta_sd(5) == 0.7


def test_source_in_words() -> None:
    source = Source.model_validate({"reported": ["a_2001", "b_2002"], "evidence": ["D001", "D002"], "note": "both"})
    assert source.in_words() == "reported: a_2001, b_2002; both [D001, D002]"
    assert Source.model_validate(source.as_data()) == source
