"""How tables are read: formats, comments, filters, clock times, what is inferred, covariates and censoring."""

import math

import numpy as np
import pandas as pd
import pytest
from event_tables import findings, read
from hypothesis import given, settings
from hypothesis import strategies as st

from ipex_pd.errors import IpexError, RecordError
from ipex_pd.records.datasets import DataError, DataSpec, load_dataset
from ipex_pd.records.filters import parse_filter
from ipex_pd.records.findings import Notebook
from ipex_pd.records.tables import read_table
from ipex_pd.records.yamlfile import from_data

PLAIN = "ID,TIME,AMT,DV\n1,0,9,.\n1,1,.,5\n1,2,.,4"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "   "),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("ID,TIME", '"id","Time"').replace("\n1,", '\n"1",'),
        PLAIN.replace(",", " , "),
        "\ufeff" + PLAIN,
        "# made by hand\n" + PLAIN + "\n\n# the end",
        PLAIN.replace("1,2,.,4", "1,2.,.,4E0").replace("9,", "9.0D0,"),
    ],
)
def test_every_usual_way_of_writing_a_table_is_read_alike(tmp_path, text):
    (subject,) = read(tmp_path, text).subjects
    np.testing.assert_array_equal(subject.time, [0, 1, 2])
    np.testing.assert_array_equal(subject.amt, [9, 0, 0])
    np.testing.assert_array_equal(subject.dv, [np.nan, 5, 4])
    np.testing.assert_array_equal(subject.evid, [1, 0, 0])
    np.testing.assert_array_equal(subject.mdv, [1, 0, 0])


def test_titles_comments_and_names_of_columns_can_be_given(tmp_path):
    text = "C,a title,,,\nC,ID,TIME,DV,AMT\n.,1,0,.,250\nC,1,1,99,.\n.,1,2,4,."
    (subject,) = read(tmp_path, text, skip=1, comment="C").subjects
    assert list(subject.rows) == [3, 5]
    (subject,) = read(tmp_path, text, skip=1, comment="@").subjects
    assert list(subject.rows) == [3, 5]
    (subject,) = read(tmp_path, "7 0 9 .\n7 1 . 5", header=["ID", "TIME", "AMT", "DV"]).subjects
    assert subject.id == "7"


def test_columns_can_have_other_names(tmp_path):
    text = "subject,t,dose,conc\n1,0,9,.\n1,1,.,5"
    data = read(tmp_path, text, columns={"id": "subject", "time": "T", "amt": "dose", "dv": "CONC"})
    assert data.observations == 1
    assert "columns: id = subject, time = t, dv = conc, amt = dose" in data.understood


def test_a_wrong_name_of_a_column_is_told_the_nearest(tmp_path):
    with pytest.raises(DataError, match=r"`columns.dv` names a column that does not exist. Nearest: `CONC`"):
        read(tmp_path, "ID,TIME,CONC\n1,1,2", columns={"dv": "CON"})
    with pytest.raises(DataError, match=r"Nearest: `TIME`"):
        read(tmp_path, "ID,TIMEH,TIME,DV\n1,1,1,2", columns={"time": "TIM"})
    with pytest.raises(DataError, match=r"`drop` names a column"):
        read(tmp_path, PLAIN, drop=["SS"])


@pytest.mark.parametrize(
    ("spec", "rows"),
    [
        ({"ignore": ["ID == 2"]}, [2, 3, 6]),
        ({"ignore": "id.EQ.2"}, [2, 3, 6]),
        ({"ignore": ["ID.EQ.2", "TIME > 4 and FLAG != 0"]}, [2, 3]),
        ({"accept": ["FLAG == 0"]}, [2, 3, 4]),
        ({"accept": ["SEX.EQ.M"]}, [2, 3]),
        ({"ignore": ["SEX.NE.'M'"]}, [2, 3]),
        ({"accept": ["TIME.LT.1", "ID.GE.2"]}, [4]),
        ({"ignore": ["floor(ID / 2) * 2 == ID or max(TIME, 3) > 3"]}, [2, 3]),
    ],
)
def test_filters_choose_rows(tmp_path, spec, rows):
    text = "ID,TIME,AMT,DV,FLAG,SEX\n1,0,9,.,0,M\n1,1,.,5,0,M\n2,0,9,.,0,F\n2,1,.,4,1,F\n3,5,.,4,1,F"
    (tmp_path / "d.csv").write_text(text)
    table = read_table(DataSpec(file="d.csv", **spec), tmp_path, Notebook("d.csv"))
    assert list(table.lines) == rows
    assert sum(table.left_out.values()) == 5 - len(rows)


@pytest.mark.parametrize("text", ["ID", "3 > 2", "ID + 1", "logit(ID) > 0", "SEX.LT.M", "ID = 2", ""])
def test_what_does_not_choose_rows_is_no_filter(text):
    with pytest.raises(RecordError):
        parse_filter(text)
    with pytest.raises(IpexError):
        from_data(DataSpec, {"file": "x.csv", "ignore": [text]})


def test_a_filter_over_words_or_missing_columns_is_an_error_and_over_empty_cells_a_warning(tmp_path):
    text = "ID,TIME,AMT,DV,FLAG\n1,0,9,.,.\n1,1,.,5,0\n1,2,.,5,1"
    (finding,) = findings(tmp_path, text, ignore="FLAG == 1")
    assert (finding.code, finding.row, finding.column) == ("data.filter-empty", 2, "FLAG")
    assert findings(tmp_path, text, ignore="FLAGG == 1")[0].code == "data.filter-column"
    assert findings(tmp_path, text.replace("1,0,9,.,.", "1,0,9,.,x"), ignore="FLAG == 1")[0].code == "data.not-a-number"
    assert findings(tmp_path, text, accept="ID > 5")[0].code == "data.empty"


def test_clock_times_are_hours_since_the_first_record(tmp_path):
    text = "ID,TIME,AMT,DV\n1,8:00,9,.\n1,14:45,.,5\n2,23:30,9,.\n2,23:45:36,.,5"
    first, second = read(tmp_path, text).subjects
    np.testing.assert_allclose(first.time, [0, 6.75])
    np.testing.assert_allclose(second.time, [0, 0.26])
    (first, _) = read(tmp_path, text, time_unit="day").subjects
    np.testing.assert_allclose(first.time, [0, 6.75 / 24])


@pytest.mark.parametrize(
    ("header", "dates", "spec"),
    [
        ("DATE", ("12/31/2025", "1/1/2026"), {}),
        ("DAT1", ("31/12/2025", "1/1/2026"), {}),
        ("DAT2", ("2025/12/31", "2026/1/1"), {}),
        ("DAT3", ("2025/31/12", "2026/1/1"), {}),
        ("DATE", ("2025-12-31", "2026-01-01"), {}),
        ("DATE", ("31.12.2025", "01.01.2026"), {"date_order": "dmy"}),
        ("DATE", ("3", "4"), {}),
    ],
)
def test_dates_carry_clock_times_over_midnight(tmp_path, header, dates, spec):
    text = f"ID,{header},TIME,AMT,II,ADDL,DV\n1,{dates[0]},22:00,9,12:30,2,.\n1,{dates[1]},6:00,.,.,.,5"
    (subject,) = read(tmp_path, text, **spec).subjects
    np.testing.assert_allclose(subject.time, [0, 8])
    np.testing.assert_allclose(subject.ii, [12.5, 0])
    (subject,) = read(tmp_path, text, time_unit="day", **spec).subjects
    np.testing.assert_allclose(subject.time, [0, 1 / 3])
    np.testing.assert_allclose(subject.ii, [12.5 / 24, 0])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ID,TIME,DV\n1,22:00,1\n1,6:00,2", "data.time-decreases"),
        ("ID,TIME,DV\n1,22:75,1\n1,23:00,2", "data.not-a-number"),
        ("ID,DATE,TIME,DV\n1,31/12/2025,1:00,1\n1,1/1/2026,6:00,2", "data.date"),
        ("ID,DATE,TIME,DV\n1,12/31/25,1:00,1\n1,1/1/26,6:00,2", "data.date"),
        ("ID,DATE,TIME,DV\n1,2/30/2026,1:00,1\n1,3/1/2026,6:00,2", "data.date"),
        ("ID,DATE,TIME,DV\n1,2026/01/03,1:00,1\n1,2026/01/04,6:00,2", "data.date"),
        ("ID,DATE,TIME,DV\n1,3,1:00,1\n1,2026-01-04,6:00,2", "data.date"),
        ("ID,DATE,TIME,DV\n1,20260103,1:00,1\n1,20260104,6:00,2", "data.date"),
        ("ID,DATE,TIME,DV\n1,.,1:00,1\n1,2026-01-04,6:00,2", "data.date-missing"),
        ("ID,DATE,DAT2,TIME,DV\n1,1,1,1:00,1\n1,1,1,6:00,2", "data.two-columns"),
    ],
)
def test_times_that_can_be_read_two_ways_are_refused(tmp_path, text, code):
    assert code in {finding.code for finding in findings(tmp_path, text) if finding.severity == "error"}


def test_a_plain_interval_beside_clock_times_in_days_is_refused(tmp_path):
    text = "ID,TIME,AMT,II,ADDL,DV\n1,8:00,9,12,2,.\n1,9:00,.,.,.,5"
    np.testing.assert_array_equal(read(tmp_path, text).subjects[0].ii, [12, 0])
    (finding,) = findings(tmp_path, text, time_unit="day")
    assert (finding.code, finding.row, finding.value) == ("data.ii-unit", 2, "12")
    (subject,) = read(tmp_path, text.replace(",12,", ",12:00,"), time_unit="day").subjects
    np.testing.assert_array_equal(subject.ii, [0.5, 0])


def test_evid_and_mdv_are_inferred_as_by_nmtran(tmp_path):
    (subject,) = read(tmp_path, "ID,TIME,AMT,MDV,DV\n1,0,9,1,.\n1,1,.,1,3\n1,2,.,0,5").subjects
    np.testing.assert_array_equal(subject.evid, [1, 2, 0])
    (subject,) = read(tmp_path, "ID,TIME,AMT,SS,RATE,DV\n1,0,0,1,5,.\n1,1,.,.,.,3").subjects
    np.testing.assert_array_equal(subject.evid, [1, 0])
    (subject,) = read(tmp_path, "ID,TIME,AMT,EVID,MDV,DV\n1,0,9,1,1,.\n1,1,.,0,1,3\n1,2,.,0,0,3").subjects
    np.testing.assert_array_equal(subject.evid, [1, 0, 0])
    np.testing.assert_array_equal(subject.mdv, [1, 1, 0])


def test_a_subject_starts_whenever_id_changes_and_long_ids_keep_their_digits(tmp_path):
    data = read(tmp_path, "ID,TIME,DV\n1,0,1\n1.0,1,1\n2,0,1\n01,0,1\nA-7,0,1")
    assert [(subject.id, len(subject.rows)) for subject in data.subjects] == [("1", 2), ("2", 1), ("1", 1), ("A-7", 1)]
    data = read(tmp_path, "ID,TIME,DV\n12345678901234567890,0,1\n12345678901234567891,0,1")
    assert len(data.subjects) == 2


def test_negative_times_and_the_order_of_the_file_are_kept(tmp_path):
    (subject,) = read(tmp_path, "ID,TIME,AMT,DV\n1,-2,.,1\n1,0,.,2\n1,0,9,.\n1,0,.,3").subjects
    np.testing.assert_array_equal(subject.time, [-2, 0, 0, 0])
    np.testing.assert_array_equal(subject.evid, [0, 0, 1, 0])
    data = read(tmp_path, "ID,TIME,AMT,DV\n1,-2,.,1\n1,0,.,2\n1,0,9,.\n1,0,.,3")
    assert "at the time of a dose: 1 observation before it in the file, 1 after it" in data.understood


CENSORED = (
    "ID,TIME,AMT,DV,CENS,LIMIT\n1,0,9,.,.,.\n1,1,.,5,0,.\n1,2,.,3,1,.\n1,3,.,3,1,1\n1,4,.,90,-1,.\n1,5,.,90,-1,99"
)


def test_censoring_follows_monolix(tmp_path):
    data = read(tmp_path, CENSORED)
    (subject,) = data.subjects
    np.testing.assert_array_equal(subject.cens, [0, 0, 1, 1, -1, -1])
    np.testing.assert_array_equal(subject.limit, [np.nan, np.nan, -np.inf, 1, np.inf, 99])
    assert "censored below the limit: 2 observations in 1 subject (1: 2)" in data.understood
    assert "censored above the limit: 2 observations in 1 subject (1: 2)" in data.understood


def test_below_quantification_is_censoring_at_the_limit(tmp_path):
    text = "ID,TIME,AMT,DV,BLQ,LLOQ\n1,0,9,.,.,.\n1,1,.,.,1,2.5\n1,2,.,0,1,2.5\n1,3,.,7,0,2.5"
    (subject,) = read(tmp_path, text).subjects
    np.testing.assert_array_equal(subject.dv, [np.nan, 2.5, 2.5, 7])
    np.testing.assert_array_equal(subject.cens, [0, 1, 1, 0])
    np.testing.assert_array_equal(subject.mdv, [1, 0, 0, 0])
    np.testing.assert_array_equal(subject.limit, [np.nan, -np.inf, -np.inf, np.nan])


def test_the_limit_may_stand_in_the_data_section(tmp_path):
    text = "ID,TIME,AMT,DV,BLQ\n1,0,9,.,.\n1,1,.,.,1\n1,2,.,0,1\n1,3,.,7,0"
    (subject,) = read(tmp_path, text, lloq=2.5).subjects
    np.testing.assert_array_equal(subject.dv, [np.nan, 2.5, 2.5, 7])
    np.testing.assert_array_equal(subject.cens, [0, 1, 1, 0])
    (hidden,) = findings(tmp_path, PLAIN, lloq=4.5)
    assert (hidden.code, hidden.row) == ("data.below-lloq", 4)
    twice = findings(tmp_path, "ID,TIME,AMT,DV,BLQ,LLOQ\n1,0,9,.,.,1\n1,1,.,5,0,1", lloq=2.5)
    assert [(f.code, f.column) for f in twice] == [("data.two-limits", "LLOQ")]


COVARIATES = "ID,TIME,AMT,DV,WT,SEX\n1,0,9,.,70,M\n1,1,.,5,.,M\n1,2,.,5,72,M\n2,0,9,.,80,F\n2,1,.,5,.,F"


def test_a_covariate_without_a_value_is_an_error_that_names_its_rows(tmp_path):
    found = findings(tmp_path, COVARIATES, covariates={"wt": "WT"})
    assert [(f.code, f.row, f.subject, f.column) for f in found] == [
        ("data.covariate-missing", 3, "1", "WT"),
        ("data.covariate-missing", 6, "2", "WT"),
    ]
    assert "`fill: first`" in found[0].cure


@pytest.mark.parametrize(
    ("fill", "first", "second"),
    [("first", [70, 70, 72], [80, 80]), ("last", [70, 70, 72], [80, 80]), ("next", [70, 72, 72], None)],
)
def test_empty_cells_are_filled_only_on_request(tmp_path, fill, first, second):
    spec = {"covariates": {"wt": {"column": "WT", "unit": "kg", "fill": fill}}}
    if second is None:
        (finding,) = findings(tmp_path, COVARIATES, **spec)
        assert (finding.code, finding.row) == ("data.covariate-missing", 6)
        return
    one, two = read(tmp_path, COVARIATES, **spec).subjects
    np.testing.assert_array_equal(one.covariates["wt"], first)
    np.testing.assert_array_equal(two.covariates["wt"], second)


def test_next_takes_the_value_after(tmp_path):
    spec = {"covariates": {"wt": {"column": "WT", "fill": "next"}}}
    (subject,) = read(tmp_path, "ID,TIME,DV,WT\n1,0,1,.\n1,1,1,70\n1,2,1,.\n1,3,1,80", **spec).subjects
    np.testing.assert_array_equal(subject.covariates["wt"], [70, 70, 80, 80])


def test_covariates_that_cannot_be_read_are_refused(tmp_path):
    found = findings(tmp_path, COVARIATES, covariates={"sex": "SEX"})
    assert {f.code for f in found} == {"data.not-a-number"}
    assert "levels: {M: ...}" in found[0].cure
    data = read(tmp_path, COVARIATES, covariates={"sex": {"column": "SEX", "levels": {"M": 0, "F": 1}}})
    np.testing.assert_array_equal(data.subjects[1].covariates["sex"], [1, 1])
    text = "ID,TIME,DV,WT\n1,0,1,.\n1,1,1,."
    assert findings(tmp_path, text, covariates=["WT"])[0].code == "data.covariate-all-missing"
    found = findings(tmp_path, text, covariates={"wt": "WGT"})
    assert found[0].code == "data.covariate-column"
    assert "Nearest: `WT`" in found[0].rule


VARYING = "ID,TIME,AMT,EVID,DV,WT,AGE\n1,0,9,1,.,70,1\n1,1,.,0,5,72,1\n1,2,.,0,5,72,2\n1,0,9,4,.,80,2\n1,3,.,0,5,80,3"


def test_next_carries_a_value_back_over_the_time_before_it(tmp_path):
    (subject,) = read(tmp_path, VARYING, covariates={"wt": "WT"}).subjects
    np.testing.assert_array_equal(subject.covariates["wt"], [70, 72, 72, 80, 80])


def test_last_holds_the_old_value_up_to_its_record_by_a_record_of_its_own(tmp_path):
    spec = {"covariates": {"wt": {"column": "WT", "carry": "last"}, "age": {"column": "AGE"}}}
    (subject,) = read(tmp_path, VARYING, **spec).subjects
    np.testing.assert_array_equal(subject.rows, [2, 0, 3, 4, 5, 6])
    np.testing.assert_array_equal(subject.time, [0, 1, 1, 2, 0, 3])
    np.testing.assert_array_equal(subject.evid, [1, 2, 0, 0, 4, 0])
    np.testing.assert_array_equal(subject.mdv, [1, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(subject.amt, [9, 0, 0, 0, 9, 0])
    np.testing.assert_array_equal(subject.covariates["wt"], [70, 70, 72, 72, 80, 80])
    np.testing.assert_array_equal(subject.covariates["age"], [1, 1, 1, 2, 2, 3])
    data = read(tmp_path, VARYING, covariates=["WT"], carry="last")
    assert "covariate WT: 70 to 80, changes in 1 subject, rules the time after its record" in data.understood


def test_a_duration_in_the_data_becomes_a_modelled_duration_with_a_covariate(tmp_path):
    text = "ID,TIME,AMT,DUR,DV\n1,0,9,2,.\n1,1,.,.,5\n1,2,9,0,.\n1,3,.,.,5"
    data = read(tmp_path, text, covariates={"dur": "DUR"})
    (subject,) = data.subjects
    np.testing.assert_array_equal(subject.rate, [-2, 0, 0, 0])
    np.testing.assert_array_equal(subject.covariates["dur"], [2, 0, 0, 0])
    assert "doses: 1 infused over DUR; bioavailability changes the rate" in data.understood


def test_what_was_understood_is_said_in_words(tmp_path):
    text = """
    ID,TIME,AMT,RATE,SS,II,ADDL,EVID,OCC,DVID,DV
    1,0,9,0,1,12,3,1,1,0,.
    1,1,0,0,0,0,0,0,1,1,5
    1,24,9,3,0,0,0,1,2,0,.
    1,25,9,-2,2,12,0,1,2,0,.
    1,26,0,5,1,0,0,1,2,0,.
    1,30,0,0,0,0,0,0,2,2,5
    1,31,0,0,0,0,0,2,2,2,.
    """
    lines = read(tmp_path, text).understood
    for words in [
        "1 subject, 2 observations, 4 dose records, 1 other record",
        "time: 0 to 31 h",
        "doses: 1 as a bolus",
        "doses: 2 infused at RATE; bioavailability changes the duration",
        "doses: 1 infused over a modelled duration (RATE = -2); bioavailability changes the rate",
        "doses: 2 at steady state of repeated doses",
        "doses: 1 at steady state of a constant infusion",
        "doses: 1 added to what is there (SS = 2)",
        "doses: 1 record with 3 additional doses, every II h",
        "observations by endpoint: 1: 1, 2: 1",
        "observations by occasion: 1: 1, 2: 1",
    ]:
        assert words in lines


def test_arrays_cannot_be_changed(tmp_path):
    (subject,) = read(tmp_path, PLAIN).subjects
    with pytest.raises(ValueError, match="read-only"):
        subject.dv[0] = 3.0


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path):
    with pytest.raises(RecordError, match="there is no such file"):
        load_dataset(tmp_path / "nothing.csv")
    (tmp_path / "x.csv").write_bytes(b"ID,TIME\xff\xfe,DV\n")
    with pytest.raises(RecordError, match="UTF-8"):
        load_dataset(tmp_path / "x.csv")
    (tmp_path / "y.csv").write_text("\n\n")
    with pytest.raises(RecordError, match="no rows"):
        load_dataset(tmp_path / "y.csv")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"columns": {"conc": "DV"}}, "`conc` is not a role"),
        ({"time_unit": "kg"}, "not a unit of time"),
        ({"covariates": {"body weight": "WT"}}, "cannot be the name of a covariate"),
        ({"covariates": {"wt": {"column": "WT", "unit": "stone_of_old"}}}, "stone_of_old"),
        ({"covariates": {"wt": {"carry": "locf"}}}, "locf"),
        ({"skip": -1}, "at least 0"),
        ({"formatt": "csv"}, "formatt"),
    ],
)
def test_a_specification_that_means_nothing_is_refused(spec, words):
    with pytest.raises(IpexError, match=words):
        from_data(DataSpec, {"file": "x.csv", **spec})
    with pytest.raises(IpexError, match=words):
        load_dataset("x.csv", spec)


rows = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.floats(0, 100),
        st.one_of(st.none(), st.floats(0.1, 1e6)),
        st.floats(-1e9, 1e9).map(lambda v: v or 1.0),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(rows=rows, separator=st.sampled_from([",", ";", "\t", " "]))
def test_what_is_written_is_what_is_read_in_the_same_order(tmp_path_factory, rows, separator):
    rows = sorted(rows, key=lambda row: (row[0], row[1]))
    lines = [
        separator.join([str(i), repr(t), "." if a is None else repr(a), "." if a is not None else repr(d)])
        for i, t, a, d in rows
    ]
    path = tmp_path_factory.mktemp("data") / "d.csv"
    header, last = separator.join(["ID", "TIME", "AMT", "DV"]), separator.join("90.1")
    path.write_text("\n".join([header, *lines, last]) + "\n")
    subjects = load_dataset(path).subjects
    frame = pd.concat(
        pd.DataFrame({"id": int(s.id), "time": s.time, "amt": s.amt, "dv": s.dv, "row": s.rows}) for s in subjects
    )
    assert list(frame["row"]) == list(range(2, len(rows) + 3))
    for (i, t, a, d), read_back in zip(rows, frame.itertuples(), strict=False):
        assert (read_back.id, read_back.time) == (i, t)
        assert read_back.amt == (0 if a is None else a)
        assert math.isnan(read_back.dv) if a is not None else read_back.dv == d
