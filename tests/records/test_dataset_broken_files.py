"""Whatever a table is broken into, the answer is a dataset or findings in our words, never a bare Python error."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipex_pd.errors import IpexError
from ipex_pd.records.datasets import load_dataset

HEADERS = ["ID", "TIME", "DATE", "AMT", "RATE", "DUR", "II", "ADDL", "SS", "CMT", "EVID", "MDV", "DV", "CENS", "LIMIT"]
HEADERS += ["BLQ", "LLOQ", "OCC", "DVID", "WT", "L2", "USUBJID", "ROW"]
CELLS = [".", "", "0", "1", "-1", "-2", "2", "3", "99", "1000", "0.5", "1e308", "1e999", "nan", "inf", "8:00", "25:99"]
CELLS += ["2026-01-01", "1/2/2026", "x", "é", '"', "'", "#", "1,5", " ", "0x10", "1_0", "-0", "1.5", "١"]
tables = st.lists(st.sampled_from(HEADERS), min_size=1, max_size=12, unique=True).flatmap(
    lambda headers: st.tuples(
        st.just(["ID", "TIME", "DV", *(header for header in headers if header not in ("ID", "TIME", "DV"))]),
        st.lists(st.lists(st.sampled_from(CELLS), min_size=2, max_size=16), max_size=8),
    )
)


def finite_and_sound(data):
    for subject in data.subjects:
        assert (
            len({len(values) for values in (subject.time, subject.dv, subject.cmt, *subject.covariates.values())}) == 1
        )
        assert set(subject.evid) <= {0, 1, 2, 3, 4}
        assert not (subject.dv[subject.observed] != subject.dv[subject.observed]).any()
        assert all((values == values).all() for values in (subject.time, subject.amt, subject.rate, subject.ii))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables, separator=st.sampled_from([",", ";", "\t", " "]), short=st.booleans())
def test_tables_of_junk(tmp_path_factory, table, separator, short):
    headers, rows = table
    if not short:
        rows = [(row + ["."] * len(headers))[: len(headers)] for row in rows]
        rows = [["1", str(place), "5", *row[3:]] for place, row in enumerate(rows)]
    path = tmp_path_factory.mktemp("junk") / "d.csv"
    path.write_text("\n".join(separator.join(row) for row in [headers, *rows]), encoding="utf-8")
    spec = {"covariates": {"wt": {"column": "WT", "fill": "last", "carry": "last"}}} if "WT" in headers else {}
    try:
        data = load_dataset(path, spec)
    except IpexError as error:
        told = str(error)
    else:
        finite_and_sound(data)
        told = " ".join(data.understood)
    assert told


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_at_all(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("junk") / "d.csv"
    path.write_text(f"ID,TIME,DV\n{text}\n1,0,5\n", encoding="utf-8")
    try:
        data = load_dataset(path)
    except IpexError as error:
        told = error.message
    else:
        finite_and_sound(data)
        told = data.understood[0]
    assert told
