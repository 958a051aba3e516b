"""The tolerance threshold, derived and in numbers."""

from pathlib import Path

import pytest
import sympy

from ipex_pd.equations.threshold import (
    class_thresholds,
    functional_treg_share,
    host_share,
    reproduction_number,
    threshold,
    threshold_markdown,
    threshold_share,
    untreated,
)
from ipex_pd.errors import ModelError

CLASSES = ("polyadenylation", "deletion", "frameshift", "missense", "splice", "in_frame")


def test_r0_without_drugs_is_the_closed_form():
    derived = threshold()
    quiet = {s: 0 for s in derived.reproduction_number.free_symbols if str(s).endswith(("_effect", "_signal"))}
    ratio, half = sympy.symbols("tolerance_ratio suppression_half", real=True)
    by_name = {s: sympy.Symbol(str(s), real=True) for s in derived.reproduction_number.free_symbols}
    found = derived.reproduction_number.subs(quiet).subs(by_name)
    share = by_name[functional_treg_share]
    assert sympy.simplify(found - ratio / (1 + share / half)) == 0


def test_r0_is_one_at_the_threshold(disease):
    values = disease.values()
    for effects in ({}, {"mtor_effect": 0.3}, {"steroid_signal": 0.4}):
        share = threshold_share({**values, **effects})
        assert reproduction_number({**values, **effects}, share) == pytest.approx(1.0)


def test_threshold_lies_below_what_kept_remission(disease):
    """1-2 % of CD4 as functional donor Treg sufficed in one patient (E142); healthy infants have about 7 %."""
    assert 0.007 < threshold_share(disease.values()) < 0.01
    assert host_share(disease.values()) == pytest.approx(0.07, abs=0.004)


def test_healthy_child_is_tolerant(disease):
    assert untreated({**disease.values(), "residual_function": 1.0}) == pytest.approx(0.27, abs=0.05)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_breaks_tolerance(disease, classes, name):
    function = classes[f"{name}__residual_function"]
    for value in (function.value, function.limits[1]):
        assert untreated({**disease.values(), "residual_function": value}) > 1


def test_raised_treg_numbers_cannot_cure_a_typical_child_of_any_class(disease, classes):
    """Cells of the Treg lineage are 13.6 against 8.5 % of CD4 (E094)."""
    raised = host_share(disease.values()) * 13.6 / 8.5
    for name in CLASSES:
        typical = classes[f"{name}__residual_function"].value
        assert reproduction_number(disease.values(), typical * raised) > 1


def test_classes_are_ordered_by_severity(disease, classes):
    numbers = [
        untreated({**disease.values(), "residual_function": classes[f"{name}__residual_function"].value})
        for name in CLASSES
    ]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == pytest.approx(1.6, abs=0.05)


def test_drugs_lower_r0_and_their_product_stands_alone(disease):
    values = disease.values()
    both = {"calcineurin_effect": 0.5, "mtor_effect": 0.5, "calcineurin_mtor_effect": 0.25}
    one = reproduction_number({**values, "calcineurin_effect": 0.5}, 0.0) / reproduction_number(values, 0.0)
    other = reproduction_number({**values, "mtor_effect": 0.5}, 0.0) / reproduction_number(values, 0.0)
    assert reproduction_number({**values, **both}, 0.0) == pytest.approx(1.6 * one * other)


def test_a_missing_value_is_named(disease):
    values = {k: v for k, v in disease.values().items() if k != "suppression_half"}
    with pytest.raises(ModelError, match="`suppression_half` has no value"):
        threshold_share(values)


def rows_of(disease, classes):
    functions = {name: classes[f"{name}__residual_function"].value for name in ("healthy", *CLASSES)}
    return class_thresholds(disease.values(), functions)


def test_table_of_the_classes(disease, classes):
    rows = {row.name: row for row in rows_of(disease, classes)}
    assert rows["healthy"].reproduction_number == pytest.approx(0.27, abs=0.01)
    assert rows["healthy"].donor_percent == 0.0
    for name in CLASSES:
        row = rows[name]
        assert row.reproduction_number > 1
        assert reproduction_number(
            disease.values(), (row.functional_percent + row.donor_percent) / 100
        ) == pytest.approx(1.0)


def test_the_page_on_the_disease_shows_the_table(disease, classes):
    page = Path(__file__).parents[2] / "docs" / "explanation" / "disease.md"
    assert threshold_markdown(rows_of(disease, classes)) in page.read_text(encoding="utf-8")
