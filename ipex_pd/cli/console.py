"""What the command line says and where: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ipex_pd.errors import IpexError, RecordError, UsageError
from ipex_pd.records.plain import plain

if TYPE_CHECKING:
    from rich.console import Console

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

WIDTH_OF_FILES = 160


class Advance(Protocol):
    """Called as a piece of work is finished."""

    def __call__(self, what: str, done: int | None = None) -> None:
        """Report that ``what`` is finished: one more piece, or ``done`` pieces in all."""


def messages() -> Console:
    """The console for people: standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=False)


def say(text: str) -> None:
    """Print one line for people, on standard error."""
    messages().print(text, markup=False)


def warn(text: str) -> None:
    """Print one warning for people, on standard error."""
    messages().print(f"Warning: {text}", style="yellow", markup=False)


def emit_text(text: str) -> None:
    """Print a result on standard output, unadorned."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def emit_json(value: Any) -> None:
    """Print a result as JSON on standard output (strict: not-a-number is written as null)."""
    emit_text(to_json(value))


def to_json(value: Any) -> str:
    """``value`` as strict, indented JSON; numbers that are not finite become null."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def emit_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*row)
    screen = Console(highlight=False, markup=False)
    if not screen.is_terminal:
        # in a file or pipe no screen is narrow, and broken words cannot be searched
        screen.width = WIDTH_OF_FILES
    screen.print(table)


class Interrupted(IpexError):
    """Ctrl-C: the work stopped, and this says what is kept."""

    default_code = "interrupted"


def exit_code(error: IpexError) -> int:
    """2 for wrong usage or input, 1 for work that failed, 130 for work that was interrupted."""
    if isinstance(error, Interrupted):
        return EXIT_INTERRUPTED
    return EXIT_USAGE if isinstance(error, UsageError | RecordError) else EXIT_FAILED


def show_error(error: IpexError, *, as_json: bool) -> None:
    """One short panel on standard error, or an error object on standard output."""
    if as_json:
        emit_json({"error": error.as_dict()})
        return
    from rich.panel import Panel
    from rich.text import Text

    body = Text()
    for label, text in (("", error.what), ("Where: ", error.where), ("Rule:  ", error.rule), ("Cure:  ", error.cure)):
        if text:
            body.append("\n" if body else "")
            body.append(label, style="bold")
            body.append(text)
    messages().print(Panel(body, title=f"Error {error.code}", title_align="left", border_style="red"))


@contextmanager
def progress(title: str, total: int, *, quiet: bool) -> Iterator[Advance]:
    """A progress bar on standard error; silent when ``quiet`` or when standard error is not a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda what, done=None: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=messages(), transient=True) as bars:
        task = bars.add_task(title, total=total)

        def advance(what: str, done: int | None = None) -> None:
            bars.update(task, description=f"{title}: {what}", completed=done, advance=1 if done is None else None)

        yield advance
