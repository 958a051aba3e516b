"""Small tables of event records written to a folder and read back."""

import textwrap

from ipex_pd.records.datasets import DataError, load_dataset


def table(text):
    """Lines of a table as people type them: indented, blanks around commas."""
    return textwrap.dedent(text).strip() + "\n"


def read(folder, text, name="data.csv", **spec):
    """The dataset of a table."""
    path = folder / name
    path.write_text(table(text), encoding="utf-8")
    return load_dataset(path, spec)


def findings(folder, text, **spec):
    """Everything that is found in a table, whether it can be used or not."""
    try:
        return read(folder, text, **spec).findings
    except DataError as error:
        return error.findings
