"""The report of a fit: every section there, self-contained, figures of every kind, honest about what failed."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from checked_problems import decay_fit

import ipex_pd
from ipex_pd.errors import OutputError
from ipex_pd.inference.diagnostics.summary import DiagnosticOptions
from ipex_pd.inference.verdict import Reason, Verdict
from ipex_pd.report.fit_axes import smooth
from ipex_pd.report.fit_figures import fit_figures
from ipex_pd.report.fit_html import render_fit_report
from ipex_pd.report.fit_tables import figure, parameter_sections


@pytest.fixture(scope="module")
def checked():
    return ipex_pd.diagnose(decay_fit(), DiagnosticOptions(replicates=40))


@pytest.fixture(scope="module")
def page(checked):
    return render_fit_report(checked)


def test_every_section_is_there_in_order(page):
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "Synopsis",
        "Question and context of use",
        "Data",
        "Methods",
        "Estimates",
        "Goodness of fit",
        "Checks by simulation",
        "Random effects",
        "Subject by subject",
        "Search",
        "Limitations",
        "This run",
    ]


def test_notice_and_verdict_come_first(page, checked):
    assert page.count("Research tool, not medical advice.") == 2
    assert page.index("Research tool") < page.index("Synopsis") < page.index('class="verdict') < page.index("<h2>Data")
    assert f'class="verdict {checked.fit.verdict.level.replace(" ", "-")}"' in page


def test_file_needs_nothing_from_outside(page):
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)([^"']+)""", page) == []
    assert "url(http" not in page
    assert "<script" not in page


def test_page_is_well_formed(page):
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attributes):
            if tag not in ("meta", "br"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    parser = Balance()
    parser.feed(page)
    assert parser.open == []


def test_what_figures_refer_to_is_their_own(page):
    """Two elements of one name are harmless until something points at them."""
    names = re.findall(r'\bid="([^"]+)"', page)
    used = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'href="#([^"]+)"', page))
    assert len(used) > 50
    twice = {name for name in used if len(set(_definitions(page, name))) != 1}
    assert twice == set()
    assert used <= set(names)


def _definitions(page, name):
    """What stands at the places that bear a name; glyphs of a font may be defined again, alike."""
    return [page[m.start() : page.index("/>", m.start())] for m in re.finditer(f' id="{re.escape(name)}"', page)]


def test_parameter_table_has_the_expected_columns(page, checked):
    heads = ["Parameter", "Unit", "Estimate", "SE", "RSE %", "95 % interval", "IIV CV %", "Shrinkage %"]
    assert "".join(f"<th>{head}</th>" for head in heads) in page
    typical, random, residual = parameter_sections(checked.fit)
    assert [row.name for row in typical.rows] == ["base", "rate"]
    row, table = random.rows[0], checked.fit.parameters.set_index("parameter")
    omega = table.estimate["omega(eta_base)"]
    assert row.cv == figure(100 * np.sqrt(np.exp(omega) - 1), 3)
    assert residual.rows[0].unit == "mg/L"


def test_numbers_keep_their_digits():
    assert [figure(v) for v in (1234.567, 0.0123456, 2.0, -0.5, float("nan"), 1e-9)] == [
        "1235", "0.01235", "2", "−0.5", "–", "1e−09",
    ]  # fmt: skip


def test_figures_of_every_kind(checked):
    drawn = fit_figures(checked)
    assert {name: len(items) for name, items in drawn.items()} == {
        "predictions": 4,
        "residuals": 3,
        "individuals": 4,
        "effects": 3,
        "covariates": 4,
        "errors": 3,
        "checks": 3,
        "search": 2,
    }
    told = [text for items in drawn.values() for text, _ in items]
    assert len(set(told)) == len(told)


def test_a_bad_fit_is_told_to_be_one(checked):
    verdict = Verdict((Reason("do not trust", "the search was interrupted"),))
    found = dataclasses.replace(checked, fit=dataclasses.replace(checked.fit, verdict=verdict))
    page = render_fit_report(found)
    assert "Do not rely on these estimates." in page
    assert page.count("The search was interrupted.") == 1
    assert "Why: the search was interrupted." in page


def test_errors_that_speak_against_the_model_stand_in_the_synopsis(checked):
    tests = checked.npde_tests.assign(mean=0.6, p_mean=1e-4)
    page = render_fit_report(dataclasses.replace(checked, npde_tests=tests))
    assert "NPDE of level speak against the model: their mean is 0.6: the model predicts too low." in page


def test_the_report_is_written_whole_or_not_at_all(checked, tmp_path):
    path = ipex_pd.write_fit_report(checked.fit, tmp_path / "fit.html", checked)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(OutputError, match="the report cannot be written"):
        ipex_pd.write_fit_report(checked.fit, tmp_path / "nowhere" / "fit.html", checked)
    assert [p.name for p in tmp_path.iterdir()] == ["fit.html"]


def test_local_regression_follows_a_line_exactly():
    x = np.linspace(0, 3, 40)
    at, level = smooth(x, 2 * x - 1)
    np.testing.assert_allclose(level, 2 * at - 1, atol=1e-9)
