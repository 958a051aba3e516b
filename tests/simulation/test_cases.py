"""Published cases beside the model."""

import numpy as np
import pytest

import ipex_pd as ipx
from ipex_pd.simulation.cases import COLUMNS, TREATMENT, case_markdown, case_table


@pytest.fixture(scope="module")
def table():
    return case_table(4)


def seen():
    for name in ipx.catalogue()["patients"]:
        for item in ipx.load_patient(name).observations:
            if not isinstance(item.value, str):
                yield name, item.quantity


def test_every_numeric_observation_is_compared(table):
    assert tuple(table.columns) == COLUMNS
    rows = list(zip(table["patient"], table["quantity"], strict=True))
    for pair in seen():
        assert rows.count(pair) == list(seen()).count(pair), pair
    events = {(boy, event) for boy in ("bul_2014", "sibling_1") for event in ("diabetes", "death")}
    assert events <= set(rows)


def test_only_what_the_model_lacks_has_no_number(table):
    missing = table[table["model"].isna()]
    assert set(missing["quantity"]) == {"glycaemia"}
    assert set(missing["verdict"]) == {"not in the model"}
    given = table[~table["model"].isna()]
    assert np.all((given["low"] <= given["model"]) & (given["model"] <= given["high"]))


def test_donor_treg_of_the_boys_who_lost_their_grafts(table):
    """More than 90 % of Treg, 1-2 % of CD4 (E141, E142); more than 70 % (E145)."""
    rows = table.set_index(["patient", "quantity"])
    assert rows.loc[("seidel_2009", "chimerism_treg"), "model"] > 0.9
    assert 1.0 < rows.loc[("seidel_2009", "treg_percent"), "model"] < 2.2
    assert rows.loc[("magg_2018", "chimerism_treg"), "model"] > 0.7


def test_treatments_belong_to_shipped_patients():
    assert set(TREATMENT) <= set(ipx.catalogue()["patients"])
    assert set(TREATMENT.values()) <= set(ipx.catalogue()["regimens"])


def test_markdown_has_a_line_an_observation(table):
    lines = case_markdown(table).splitlines()
    assert len(lines) == len(table) + 2
    assert any(line.startswith("| sibling_1 | ige | 105 since birth | 7710 |") for line in lines)
