"""What the pages tell people to write is accepted; links lead somewhere."""

import re
from pathlib import Path

import pytest

from ipex_pd.records.library import findings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language):
    return list(_blocks(language))


def _blocks(language):
    for page in (ROOT / "README.md", *sorted((ROOT / "docs" / "how-to").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        for i, block in enumerate(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)):
            yield pytest.param(block, id=f"{page.stem}-{i}")


@pytest.mark.parametrize("block", blocks("yaml"))
def test_example_files_are_right(block, tmp_path):
    path = tmp_path / "example.yaml"
    path.write_text(block)
    assert findings(path) == []


@pytest.mark.parametrize("block", blocks("python"))
def test_example_code_compiles(block):
    compile(block, "example", "exec")


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("python"))
def test_example_code_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "example", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
