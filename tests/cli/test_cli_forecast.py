"""forecast on the command line and its page: what it prints and draws, and what it refuses."""

import json
import re

import pytest

import ipex_pd as ipx
from ipex_pd.cli.main import run
from ipex_pd.records.library import shelf
from ipex_pd.report.forecast_figures import drawable, forecast_figures
from ipex_pd.report.forecast_html import render_forecast_report, summary_sentences

DATA = shelf() / "fit" / "cohorts" / "synthetic_seidel_2009.csv"


@pytest.fixture(scope="module")
def found():
    child, regimen = ipx.load_patient("seidel_2009"), ipx.load_regimen("prednisolone")
    return ipx.forecast(child, DATA, regimen=regimen, years=0.6, draws=8, seed=1, quantities=["ige"])


@pytest.fixture(scope="module")
def page(found):
    return render_forecast_report(found)


def test_page_has_its_sections_and_needs_nothing_from_outside(page):
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "In short",
        "The child and the regimen",
        "What was measured, and what is forecast",
        "Survival",
        "Organs and growth",
        "IgE, autoantibody and regulatory T cells",
        "What the measurements told",
        "Endpoints after 0.6 years",
        "What this forecast does not say",
        "Assumptions",
        "Sources",
        "This run",
    ]
    assert page.count("Research tool, not medical advice.") == 2
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)([^"']+)""", page) == []
    assert "<script" not in page


def test_measured_points_stand_at_their_days_and_values(found):
    assert "stool_severity" not in drawable(found)
    names = list(drawable(found))
    _, figure = forecast_figures(found)["measured"][names.index("ige")]
    drawn = figure.axes[0].lines[-3]
    rows = found.cohort.table[found.cohort.table["measurement"] == "ige"]
    assert drawn.get_xdata() * 365.25 == pytest.approx(rows["day"].to_numpy())
    assert drawn.get_ydata() == pytest.approx(rows["value"].to_numpy())


def test_summary_counts_what_was_told(found):
    told = int(found.informed["informed"].sum())
    assert f"told something of {told} of {len(found.informed)} parameters" in summary_sentences(found)[2]


def test_command_writes_a_report_and_json(tmp_path, capsys, monkeypatch, found):
    monkeypatch.setattr("ipex_pd.inference.forecast.forecast", lambda *_, **__: found)
    report = tmp_path / "forecast.html"
    asked = ["forecast", "seidel_2009", str(DATA), "--regimen", "prednisolone", "--report", str(report)]
    assert run([*asked, "--json", "--out", str(tmp_path / "run")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said["bands"]["ige"]) == {"unit", "time", "median", "low", "high"}
    assert said["converged"]
    assert report.read_text().startswith("<!doctype html>")
    assert (tmp_path / "run" / "bands.csv").is_file()
    assert run(asked) == 0
    assert "What the measurements told" in capsys.readouterr().out


def test_what_is_missing_or_no_fit_of_the_disease_is_refused(tmp_path, capsys):
    assert run(["forecast", "seidel_2009", "nothing.csv", "--regimen", "prednisolone", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "DATA"
    fitted = ["--fit", str(tmp_path), "--json"]
    assert run(["forecast", "seidel_2009", str(DATA), "--regimen", "prednisolone", *fitted]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage.not-a-fit"
