"""Numbers as people read them."""

import math

import numpy as np
import pytest
from synthetic_comparison import synthetic_comparison

from ipex_pd.report import tables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.031416, "0.0314"),
        (3.14159, "3.14"),
        (1234.5, "1\u202f234"),
        (-2.5, "\u22122.5"),
        (1.5e7, "1.50e+07"),
        (math.nan, "–"),
    ],
)
def test_number_has_three_digits(value, text):
    assert tables.number(value) == text


def test_cell_shows_range_only_where_patients_differ():
    assert str(tables.cell(1.0, 1.0, 1.0)) == "1"
    assert str(tables.cell(2.0, 1.0, 3.0)) == "2 (1 to 3)"
    assert str(tables.cell(math.inf, 5.0, math.inf)) == "not reached"
    assert str(tables.cell(20.0, 5.0, math.inf)) == "20 (5 to not reached)"


def test_band_leaves_out_patients_without_numbers():
    values = np.array([[1.0], [3.0], [np.nan]])
    assert tables.band(values).median[0] == 2.0


def test_causes_of_death_add_up_to_all_deaths():
    simulation = synthetic_comparison().simulations["transplant_early_reduced"]
    deaths = 1.0 - simulation["survival"][:, -1].mean()
    assert sum(tables.causes_of_death(simulation).values()) == pytest.approx(deaths, rel=1e-9)


def test_organ_free_survival_is_at_most_survival():
    simulation = synthetic_comparison().simulations["untreated"]
    assert np.all(tables.organ_free_survival(simulation) <= simulation["survival"])
    assert tables.organ_free_survival(simulation)[:, -1].max() == 0.0


def test_endpoint_rows_have_one_cell_a_regimen():
    comparison = synthetic_comparison()
    assert {len(row.cells) for row in tables.endpoint_rows(comparison)} == {6}
    assert {len(row.cells) for row in tables.difference_rows(comparison)} == {5}
