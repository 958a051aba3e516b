"""The report on a synthetic comparison: every section there, self-contained, honest about what failed."""

import re
from html.parser import HTMLParser

import pytest
from synthetic_comparison import synthetic_comparison

from ipex_pd.errors import OutputError
from ipex_pd.report.html import render_report, write_report


@pytest.fixture(scope="module")
def comparison():
    return synthetic_comparison()


@pytest.fixture(scope="module")
def page(comparison):
    return render_report(comparison)


def test_every_section_is_there_in_order(page):
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "In two minutes",
        "What was asked",
        "The child and the virtual patients",
        "The regimens",
        "Survival",
        "Organs and growth",
        "IgE, autoantibody and regulatory T cells",
        "Drug exposure",
        "Endpoints",
        "Differences from A",
        "Was it computed well?",
        "Assumptions",
        "Sources",
        "This run",
    ]


def test_notice_stands_at_the_top_and_at_the_end(page):
    assert page.count("Research tool, not medical advice.") == 2
    assert page.index("Research tool, not medical advice.") < page.index("In two minutes")


def test_file_needs_nothing_from_outside(page):
    outside = re.findall(r"""(?:src|href)\s*=\s*["'](?!#)([^"']+)""", page)
    assert outside == []
    assert "url(http" not in page
    assert "<script" not in page


def test_page_is_well_formed(page):
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag not in {"meta", "link", "br", "img", "line", "use", "path", "rect"}:
                self.open.append(tag)

        def handle_endtag(self, tag):
            if tag in self.open:
                assert self.open.pop() == tag

        def handle_startendtag(self, tag, attrs):
            pass

    balance = Balance()
    balance.feed(page)
    assert balance.open == []


def test_identifiers_of_figures_do_not_collide(page):
    defined = re.findall(r'<clipPath id="([^"]+)"', page)
    assert len(defined) == len(set(defined))


def test_text_from_files_is_escaped(page):
    assert "invented &lt;b&gt;&amp;&lt;/b&gt; prove nothing" in page


def test_failed_patient_is_named(page):
    assert "synthetic-2: numbers stopped being finite on day 700" in page


def test_summary_tells_numbers_and_ranges(page):
    assert re.search(r"Untreated: of 100 such children the model expects \d+ to be alive", page)
    assert "not evidence of benefit" in page


@pytest.fixture
def rendered(page, monkeypatch):
    monkeypatch.setattr("ipex_pd.report.html.render_report", lambda comparison: page)


@pytest.mark.usefixtures("rendered")
def test_report_is_written_whole(comparison, tmp_path):
    path = write_report(comparison, tmp_path / "synthetic.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [p.name for p in tmp_path.iterdir()] == ["synthetic.html"]


@pytest.mark.usefixtures("rendered")
def test_report_into_missing_folder_is_an_error(comparison, tmp_path):
    with pytest.raises(OutputError, match="the report cannot be written"):
        write_report(comparison, tmp_path / "missing" / "synthetic.html")
