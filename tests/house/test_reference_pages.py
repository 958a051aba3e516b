"""The reference pages say what the code says."""

import pytest
from reference_pages import FOLDER, PAGES


@pytest.mark.parametrize("page", PAGES)
def test_reference_page_is_up_to_date(page):
    written = (FOLDER / page).read_text(encoding="utf-8")
    assert written == PAGES[page](), "run: python docs/reference_pages.py"
