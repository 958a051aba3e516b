from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipex_pd.errors import RecordError
from ipex_pd.records.growth import DAYS_PER_MONTH, body_surface, growth_table, size_at, z_score

SEX = st.sampled_from(["male", "female"])
MEASURE = st.sampled_from(["weight", "height", "bmi"])


@settings(max_examples=100, deadline=None)
@given(measure=MEASURE, sex=SEX, age=st.floats(0, 8000), z=st.floats(-4, 2.5))
def test_there_and_back(measure: str, sex: str, age: float, z: float) -> None:
    size = size_at(measure, sex, age, z)  # type: ignore[arg-type]
    assert z_score(measure, sex, age, size) == pytest.approx(z, abs=1e-8)  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(measure=MEASURE, sex=SEX, age=st.floats(0, 8000), z=st.floats(-4, 2.4))
def test_size_rises_with_z(measure: str, sex: str, age: float, z: float) -> None:
    assert size_at(measure, sex, age, z + 0.1) > size_at(measure, sex, age, z)  # type: ignore[arg-type]


@pytest.mark.parametrize(("months", "kg"), [(0, 3.35), (6, 7.94), (12, 9.65), (24, 12.15), (60, 18.34), (120, 31.16)])
def test_published_median_weights_of_boys(months: int, kg: float) -> None:
    assert size_at("weight", "male", months * DAYS_PER_MONTH, 0) == pytest.approx(kg, abs=0.006)


@pytest.mark.parametrize("sex", ["male", "female"])
def test_weight_above_ten_years_is_bmi_times_height_squared(sex: str) -> None:
    age = np.array([12.5, 15, 18, 19]) * 12 * DAYS_PER_MONTH
    expected = size_at("bmi", sex, age, 0) * (size_at("height", sex, age, 0) / 100) ** 2  # type: ignore[arg-type]
    assert size_at("weight", sex, age, 0) == pytest.approx(expected, rel=2e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("sex", ["male", "female"])
@pytest.mark.parametrize("z", [-4.0, -2.0, 0.0, 2.0])
def test_weight_has_no_jump_at_ten_years(sex: str, z: float) -> None:
    age = np.arange(9 * 12, 13 * 12, 0.25) * DAYS_PER_MONTH
    weight = size_at("weight", sex, age, z)  # type: ignore[arg-type]
    assert np.max(np.abs(np.diff(np.log(weight)))) < 0.005


def test_held_after_nineteen_years() -> None:
    table = growth_table("height", "female")
    assert table.age[-1] == pytest.approx(228 * DAYS_PER_MONTH)
    assert size_at("height", "female", 1e5, 0.5) == size_at("height", "female", table.age[-1], 0.5)


def test_shapes_broadcast() -> None:
    assert size_at("weight", "male", np.zeros((3, 1)), np.zeros(4)).shape == (3, 4)


def test_refusals() -> None:
    with pytest.raises(RecordError) as caught:
        size_at("bmi", "male", 5000, 9)
    assert str(caught.value) == "a z-score is outside the growth tables. 1 + L S z must stay positive."
    with pytest.raises(RecordError) as caught:
        z_score("weight", "male", 100, 0)
    assert str(caught.value) == "a size is not positive. Weights and heights are more than zero."
    with pytest.raises(RecordError, match="no growth table for sex `boy`"):
        size_at("weight", "boy", 100, 0)  # type: ignore[arg-type]


def test_mosteller() -> None:
    assert body_surface(20, 110) == pytest.approx(np.sqrt(20 * 110 / 3600))
