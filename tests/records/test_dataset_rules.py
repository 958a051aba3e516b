"""Every rule of event records has a table that breaks it; the finding names row, column, value, rule and cure."""

import re

import pytest
from event_tables import findings, read

from ipex_pd.records.datasets import DataError

GOOD = """
ID,TIME,AMT,DV
1,0,100,.
1,1,.,5.5
2,0,100,.
2,1,.,6.5
"""

# code, severity, row, subject, column, value, words of rule or cure, table
BROKEN = [
    ("time-decreases", "error", 4, "1", "TIME", "1", "EVID 3 and 4", "ID,TIME,AMT,DV\n1,0,9,.\n1,2,.,5\n1,1,.,4"),
    ("time-missing", "error", 3, "1", "TIME", ".", "has a time", "ID,TIME,AMT,DV\n1,0,9,.\n1,.,.,5"),
    ("not-a-number", "error", 3, "1", "TIME", "one", "number", "ID,TIME,AMT,DV\n1,0,9,.\n1,one,.,5"),
    ("not-a-number", "error", 3, "1", "DV", "<0.5", "DV holds numbers", "ID,TIME,AMT,DV\n1,0,9,.\n1,1,.,<0.5"),
    ("not-a-number", "error", 2, "1", "AMT", "5 mg", "AMT holds numbers", "ID,TIME,AMT,DV\n1,0,5 mg,.\n1,1,.,5"),
    ("not-a-number", "error", 3, "1", "DV", "nan", "DV holds numbers", "ID,TIME,AMT,DV\n1,0,9,.\n1,1,.,nan"),
    ("id-missing", "error", 3, ".", "ID", ".", "names its subject", "ID,TIME,AMT,DV\n1,0,9,.\n.,1,.,5"),
    ("id-again", "warning", 6, "1", "ID", "1", "new subject", GOOD + "1,2,.,7"),
    ("evid", "error", 2, "1", "EVID", "8", "0 to 4", "ID,TIME,AMT,EVID,DV\n1,0,9,8,.\n1,1,.,0,5"),
    ("not-whole", "error", 2, "1", "EVID", "1.5", "whole", "ID,TIME,AMT,EVID,DV\n1,0,9,1.5,.\n1,1,.,0,5"),
    ("missing", "error", 2, "1", "EVID", ".", "never empty", "ID,TIME,AMT,EVID,DV\n1,0,9,.,.\n1,1,.,0,5"),
    ("mdv", "error", 3, "1", "MDV", "2", "100 and 101", "ID,TIME,AMT,MDV,DV\n1,0,9,1,.\n1,1,.,2,5"),
    ("missing", "error", 3, "1", "MDV", ".", "never empty", "ID,TIME,AMT,MDV,DV\n1,0,9,1,.\n1,1,.,.,5"),
    ("mdv-on-event", "error", 2, "1", "MDV", "0", "MDV = 1", "ID,TIME,AMT,MDV,DV\n1,0,9,0,.\n1,1,.,0,5"),
    ("mdv-100", "note", 3, "1", "MDV", "100", "estimation", "ID,TIME,AMT,MDV,DV\n1,0,9,1,.\n1,1,.,100,5\n1,2,.,0,5"),
    ("dv-missing", "error", 3, "1", "DV", ".", "not 0", "ID,TIME,AMT,MDV,DV\n1,0,9,1,.\n1,1,.,0,.\n1,2,.,0,5"),
    ("dv-missing", "warning", 3, "1", "DV", ".", "would read 0", "ID,TIME,AMT,DV\n1,0,9,.\n1,1,.,.\n1,2,.,5"),
    ("dv-on-event", "warning", 2, "1", "DV", "7", "not used", "ID,TIME,AMT,MDV,DV\n1,0,9,1,7\n1,1,.,0,5"),
    ("dose-with-dv", "error", 2, "1", "DV", "7", "row of its own", "ID,TIME,AMT,DV\n1,0,9,7\n1,1,.,5"),
    ("dv-not-used", "note", 3, "1", "DV", "7", "MDV = 1",
     "ID,TIME,AMT,EVID,MDV,DV\n1,0,9,1,1,.\n1,1,.,0,1,7\n1,2,.,0,0,7"),
    ("not-a-number", "error", 3, "1", "DV", "1e999", "holds numbers", "ID,TIME,AMT,DV\n1,0,9,.\n1,1,.,1e999"),
    ("time-of-day", "error", 3, "1", "TIME", "48", "drop: [DATE]", "ID,DATE,TIME,DV\n1,1/1/2026,0,4\n1,1/3/2026,48,5"),
    ("amt-not-dosed", "error", 3, "1", "AMT", "9", "EVID = 1", "ID,TIME,AMT,EVID,DV\n1,0,9,1,.\n1,1,9,0,5"),
    ("dose-item", "error", 3, "1", "II", "12", "where EVID is 0", "ID,TIME,AMT,EVID,II,DV\n1,0,9,1,0,.\n1,1,0,0,12,5"),
    ("dose-item", "error", 3, "1", "RATE", "-2", "where EVID", "ID,TIME,AMT,EVID,RATE,DV\n1,0,9,1,0,.\n1,1,0,2,-2,."),
    ("dose-no-amt", "error", 2, "1", "AMT", ".", "has an amount", "ID,TIME,AMT,EVID,DV\n1,0,.,1,.\n1,1,0,0,5"),
    ("dose-no-amt", "error", 2, "1", "AMT", "", "column of amounts", "ID,TIME,EVID,DV\n1,0,1,.\n1,1,0,5"),
    ("all-doses-zero", "warning", 2, "1", "AMT", "0", "Every dose", "ID,TIME,AMT,EVID,DV\n1,0,0,1,.\n1,1,0,0,5"),
    ("amt-negative", "error", 2, "1", "AMT", "-9", "positive", "ID,TIME,AMT,DV\n1,0,-9,.\n1,1,.,5"),
    ("no-doses", "warning", 0, "", "", "", "gives a dose", "ID,TIME,DV\n1,0,4\n1,1,5"),
    ("rate", "error", 2, "1", "RATE", "-3", "-2 (modelled", "ID,TIME,AMT,RATE,DV\n1,0,9,-3,.\n1,1,.,0,5"),
    ("dur-covariate", "error", 2, "1", "DUR", "2", "duration: dur", "ID,TIME,AMT,DUR,DV\n1,0,9,2,.\n1,1,.,.,5"),
    ("dur", "error", 2, "1", "DUR", "-2", "positive", "ID,TIME,AMT,DUR,DV\n1,0,9,-2,.\n1,1,.,.,5"),
    ("dur-no-amt", "error", 2, "1", "DUR", "2", "AMT is positive", "ID,TIME,AMT,DUR,DV\n1,0,0,2,.\n1,1,.,.,5"),
    ("rate-and-dur", "error", 2, "1", "DUR", "4", "RATE x DUR", "ID,TIME,AMT,RATE,DUR,DV\n1,0,9,3,4,.\n1,1,.,.,.,5"),
    ("ss", "error", 2, "1", "SS", "99", "1 (replace)", "ID,TIME,AMT,SS,II,DV\n1,0,9,99,12,.\n1,1,.,.,.,5"),
    ("ss-3", "error", 2, "1", "SS", "3", "Write SS = 1", "ID,TIME,AMT,SS,II,DV\n1,0,9,3,12,.\n1,1,.,.,.,5"),
    ("ss-ii", "error", 2, "1", "II", "0", "II > 0", "ID,TIME,AMT,SS,II,DV\n1,0,9,1,0,.\n1,1,.,.,.,5"),
    ("ss-rate", "error", 2, "1", "RATE", ".", "constant infusion", "ID,TIME,AMT,SS,RATE,DV\n1,0,0,1,.,.\n1,1,.,.,.,5"),
    ("ss-addl", "error", 2, "1", "ADDL", "2", "no additional",
     "ID,TIME,SS,RATE,ADDL,AMT,DV\n1,0,1,5,2,0,.\n1,1,0,0,0,0,5"),
    ("addl-negative", "error", 2, "1", "ADDL", "-1", "empirical", "ID,TIME,AMT,ADDL,II,DV\n1,0,9,-1,12,.\n1,1,.,.,.,5"),
    ("not-whole", "error", 2, "1", "ADDL", "1.5", "whole", "ID,TIME,AMT,ADDL,II,DV\n1,0,9,1.5,12,.\n1,1,.,.,.,5"),
    ("addl-no-ii", "error", 2, "1", "II", "0", "go together", "ID,TIME,AMT,ADDL,II,DV\n1,0,9,3,0,.\n1,1,.,.,.,5"),
    ("ii-no-addl", "error", 2, "1", "ADDL", "0", "go together", "ID,TIME,AMT,ADDL,II,DV\n1,0,9,0,12,.\n1,1,.,.,.,5"),
    ("ii-negative", "error", 2, "1", "II", "-12", "positive", "ID,TIME,AMT,ADDL,II,DV\n1,0,9,3,-12,.\n1,1,.,.,.,5"),
    ("compartment-off", "error", 3, "1", "CMT", "-1", "off",
     "ID,TIME,AMT,EVID,CMT,DV\n1,0,9,1,1,.\n1,1,.,2,-1,.\n1,2,.,0,1,5"),
    ("cmt", "error", 2, "1", "CMT", "-1", "from 1", "ID,TIME,AMT,EVID,CMT,DV\n1,0,9,1,-1,.\n1,2,.,0,1,5"),
    ("not-whole", "error", 2, "1", "CMT", "1.5", "whole", "ID,TIME,AMT,CMT,DV\n1,0,9,1.5,.\n1,2,.,1,5"),
    ("output-compartment", "error", 3, "1", "CMT", "1000", "output", "ID,TIME,AMT,CMT,DV\n1,0,9,1,.\n1,2,.,1000,5"),
    ("cens", "error", 3, "1", "CENS", "2", "above DV", "ID,TIME,AMT,CENS,DV\n1,0,9,0,.\n1,2,.,2,5\n1,3,.,0,5"),
    ("cens-on-event", "warning", 2, "1", "CENS", "1", "observations only", "ID,TIME,AMT,CENS,DV\n1,0,9,1,.\n1,2,.,0,5"),
    ("limit", "error", 3, "1", "LIMIT", "6", "below DV",
     "ID,TIME,AMT,CENS,LIMIT,DV\n1,0,9,0,.,.\n1,2,.,1,6,5\n1,3,.,0,.,5"),
    ("limit", "error", 3, "1", "LIMIT", "4", "above",
     "ID,TIME,AMT,CENS,LIMIT,DV\n1,0,9,0,.,.\n1,2,.,-1,4,5\n1,3,.,0,.,5"),
    ("limit-no-cens", "warning", 3, "1", "LIMIT", "2", "truncated",
     "ID,TIME,AMT,CENS,LIMIT,DV\n1,0,9,0,.,.\n1,2,.,0,2,5"),
    ("blq", "error", 3, "1", "BLQ", "2", "0 or 1", "ID,TIME,AMT,BLQ,LLOQ,DV\n1,0,9,0,1,.\n1,2,.,2,1,5"),
    ("blq-no-lloq", "error", 3, "1", "BLQ", "1", "needs the limit",
     "ID,TIME,AMT,BLQ,DV\n1,0,9,0,.\n1,2,.,1,.\n1,3,.,0,5"),
    ("cens-and-blq", "error", 2, "1", "BLQ", "0", "said once",
     "ID,TIME,AMT,BLQ,CENS,LLOQ,DV\n1,0,9,0,0,1,.\n1,2,.,0,0,1,5"),
    ("below-lloq", "warning", 3, "1", "DV", "0.5", "as measured",
     "ID,TIME,AMT,LLOQ,DV\n1,0,9,1,.\n1,2,.,1,0.5\n1,3,.,1,5"),
    ("missing", "error", 3, "1", "DVID", ".", "which endpoint", "ID,TIME,AMT,DVID,DV\n1,0,9,.,.\n1,2,.,.,5\n1,3,.,1,5"),
    ("missing", "error", 2, "1", "OCC", ".", "never empty", "ID,TIME,AMT,OCC,DV\n1,0,9,.,.\n1,2,.,1,5"),
    ("duplicate", "warning", 4, "1", "TIME", "2", "same ID", "ID,TIME,AMT,DV\n1,0,9,.\n1,2,.,4\n1,2,.,5"),
    ("no-observations", "error", 0, "", "", "", "is an observation", "ID,TIME,AMT,DV\n1,0,9,.\n1,2,9,."),
    ("subject-no-observations", "warning", 0, "", "ID", "7", "add nothing", GOOD + "7,0,100,."),
    ("subject-no-doses", "note", 0, "", "ID", "7", "no dose", GOOD + "7,0,.,4"),
    ("all-censored", "warning", 0, "", "ID", "2", "All observations",
     "ID,TIME,AMT,CENS,DV\n1,0,9,0,.\n1,2,.,0,5\n2,0,9,0,.\n2,1,.,1,3"),
    ("row-order", "warning", 4, "", "ROW", "", "rises", "ID,TIME,AMT,ROW,DV\n1,0,9,1,.\n1,2,.,3,5\n1,3,.,2,5"),
    ("usubjid", "warning", 0, "", "USUBJID", "", "one to one", "ID,TIME,AMT,USUBJID,DV\n1,0,9,A,.\n1,2,.,B,5"),
    ("ragged", "error", 3, "", "", "", "4 columns and this row 3", "ID,TIME,AMT,DV\n1,0,9,.\n1,2,5\n1,3,.,5"),
    ("duplicate-column", "error", 0, "", "dv", "", "unique", "ID,TIME,AMT,DV,dv\n1,0,9,.,.\n1,2,.,5,5"),
    ("no-header", "error", 1, "", "", "", "not names", "1,0,9,.\n1,2,.,5"),
    ("no-header", "error", 1, "", "", "", "Column 1 has no name", ",ID,TIME,AMT,DV\n1,1,0,9,.\n2,1,2,.,5"),
    ("column-missing", "error", 0, "", "TIME", "", "column for TIME", "ID,TYME,AMT,DV\n1,0,9,.\n1,2,.,5"),
    ("column-missing", "error", 0, "", "DV", "", "columns: {dv: ...}", "ID,TIME,AMT,CONC\n1,0,9,.\n1,2,.,5"),
    ("two-columns", "error", 0, "", "BLQ", "", "`BLQ` and `BQL`", "ID,TIME,AMT,DV,BLQ,BQL\n1,0,9,.,0,0\n1,2,.,5,0,0"),
    ("unsupported-column", "error", 0, "", "L2", "", "drop: [L2]", "ID,TIME,AMT,DV,L2\n1,0,9,.,1\n1,2,.,5,2"),
    ("unsupported-column", "error", 0, "", "PCMT", "", "other records", "ID,TIME,AMT,DV,PCMT\n1,0,9,.,1\n1,2,.,5,2"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "severity", "row", "subject", "column", "value", "words", "text"),
    BROKEN,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(BROKEN)],
)
def test_a_broken_rule_is_found(tmp_path, code, severity, row, subject, column, value, words, text):
    found = [finding for finding in findings(tmp_path, text) if finding.code == f"data.{code}"]
    assert found, f"nothing of data.{code}"
    finding = found[0]
    assert (finding.severity, finding.row, finding.subject, finding.column) == (severity, row, subject, column)
    assert finding.value == value
    assert words in f"{finding.rule} {finding.cure}"
    assert f"[data.{code}]" in finding.text


def test_a_table_that_breaks_none_has_no_findings(tmp_path):
    assert findings(tmp_path, GOOD) == ()


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case[0] if isinstance(case, tuple) else "")
def test_errors_stop_the_reading_and_warnings_do_not(tmp_path, case):
    code, severity, text = case[0], case[1], case[-1]
    errors = [f for f in findings(tmp_path, text) if f.severity == "error"]
    if severity == "error":
        with pytest.raises(DataError, match=re.escape(f"[{errors[0].code}]")):
            read(tmp_path, text)
    elif code != "all-doses-zero":
        assert not errors
        assert read(tmp_path, text).subjects


def test_all_errors_are_told_at_once(tmp_path):
    text = """
    ID,TIME,AMT,EVID,DV
    1,0,9,1,.
    1,5,0,0,4
    1,3,0,0,4
    1,2,0,0,4
    2,0,9,9,.
    3,0,0,1,.
    3,1,0,0,x
    """
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    errors = [finding for finding in caught.value.findings if finding.severity == "error"]
    assert {(finding.row, finding.code) for finding in errors} == {
        (4, "data.time-decreases"),
        (5, "data.time-decreases"),
        (6, "data.evid"),
        (6, "data.amt-not-dosed"),
        (7, "data.dose-no-amt"),
        (8, "data.not-a-number"),
    }
    message = str(caught.value)
    assert message.startswith("data.csv: ")
    assert "in 3 subject(s)" in message
    assert "row 4, subject 1, TIME = 3: TIME may not decrease" in message
    assert " more" in message


def test_a_reset_lets_time_start_again(tmp_path):
    text = "ID,TIME,AMT,EVID,DV\n1,0,9,1,.\n1,9,0,0,4\n1,0,9,4,.\n1,2,0,0,4\n1,1,0,3,.\n1,2,0,0,3"
    data = read(tmp_path, text)
    assert not data.findings
    assert "1 resets, 1 resets with a dose" in data.understood


@pytest.mark.parametrize(
    "row",
    ["9,0,1,12,0", "9,0,2,12,0", "9,3,1,12,4", "0,5,1,0,0", "0,-1,1,0,0", "9,-2,1,12,0", "9,-1,0,0,0", "9,0,0,12,5"],
)
def test_every_pattern_of_doses_that_nonmem_has_is_accepted(tmp_path, row):
    assert findings(tmp_path, f"ID,TIME,AMT,RATE,SS,II,ADDL,DV\n1,0,{row},.\n1,1,0,0,0,0,0,5") == ()


def test_a_column_that_is_dropped_is_not_looked_at(tmp_path):
    text = "ID,TIME,AMT,DV,SS,L2\n1,0,9,.,99,1\n1,2,.,5,99,1"
    assert not read(tmp_path, text, drop=["ss", "L2"]).findings
    assert not read(tmp_path, text, columns={"ss": "none"}, drop=["L2"]).findings


def test_a_correct_rate_beside_a_duration_is_accepted(tmp_path):
    data = read(tmp_path, "ID,TIME,AMT,RATE,DUR,DV\n1,0,12,3,4,.\n1,1,.,.,.,5")
    assert data.subjects[0].rate[0] == 3
