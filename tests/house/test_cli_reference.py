"""The reference page of the command line says what the commands say."""

from pathlib import Path

from ipex_pd.cli.reference import command_reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def test_reference_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == command_reference(), (
        "run: python -m ipex_pd.cli.reference > docs/reference/cli.md"
    )
