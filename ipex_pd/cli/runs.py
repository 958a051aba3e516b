"""The run folder: what was asked, what came out and in which surroundings; never overwritten silently."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from ipex_pd.cli.console import Interrupted, say, to_json
from ipex_pd.errors import OutputError, UsageError

T = TypeVar("T")
_GRACE_SECONDS = 10.0
_NOTED_PACKAGES = ("ipex-pd", "numpy", "scipy", "sympy", "jax", "jaxlib", "diffrax", "pandas", "pydantic", "pint")


def write_atomically(path: Path, text: str, *, kept: str = "") -> None:
    """Write ``text`` to ``path`` at once or not at all: a half-written file is never left under its name.

    Args:
        path: the file; an older one is replaced only when the new one is complete.
        text: its content.
        kept: what is already safe, said in the error when this write fails.

    Raises:
        OutputError: the file cannot be written, for example because the disk is full.
    """
    handle, temporary = None, None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise _output_error(path, error, kept) from error


def _output_error(path: Path, error: OSError, kept: str) -> OutputError:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    return OutputError(
        "the disk is full" if full else f"cannot be written ({error.strerror or error})",
        code="output.disk-full" if full else "output.not-writable",
        where=str(path),
        rule=kept or "Nothing was written under this name",
        cure="Free some space, or choose another place with `--out`" if full else "Choose a place that can be written",
    )


def require_writable_file(path: Path, option: str) -> None:
    """Refuse a file that could not be written, before hours of work.

    Raises:
        UsageError: its folder does not exist, or it is itself a folder.
    """
    if path.is_dir():
        raise UsageError(f"`{path}` is a folder", where=option, rule="A file is written here", cure="Name a file")
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"the folder `{path.absolute().parent}` does not exist",
            where=option,
            rule="A file is written into an existing folder",
            cure=f"Create it first: mkdir -p {path.parent}",
        )


def require_claimable(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that a run must not be written into, before anything is computed or deleted.

    Raises:
        UsageError: the folder holds something and ``overwrite`` is false, or it is no run and must not be emptied.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"`{path}` is a file", where="--out", rule="A run is written into a folder")
    if not path.is_dir() or not any(path.iterdir()):
        return
    if not overwrite:
        raise UsageError(
            f"the folder `{path}` already holds something",
            code="usage.folder-exists",
            where="--out",
            rule="A run never overwrites an older one silently",
            cure="Name another folder, or add `--overwrite`",
        )
    if not (path / "env.json").is_file():
        raise UsageError(
            f"the folder `{path}` holds files that are no run of ipex-pd",
            code="usage.folder-not-a-run",
            where="--out",
            rule="`--overwrite` replaces runs only (folders with an `env.json`)",
            cure="Name another folder",
        )


class RunFolder:
    """A folder that receives one run.

    Every file is written atomically, as soon as it is ready; ``env.json`` says at the end whether the run finished.

    Args:
        path: the folder; created with its parents.
        command: the command and its options, for ``env.json``.
        overwrite: replace an older run in this folder.

    Raises:
        UsageError: the folder holds something and ``overwrite`` is false, or it is no run and must not be emptied.
        OutputError: the folder cannot be created.
    """

    def __init__(self, path: Path, command: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.path = path
        self.written: list[str] = []
        self._command = dict(command)
        self._started = datetime.now(UTC)
        self._log: list[str] = []
        self._claim(overwrite)
        self.log("started: " + " ".join(sys.argv))
        self._write_environment("running")

    def _claim(self, overwrite: bool) -> None:
        require_claimable(self.path, overwrite=overwrite)
        if self.path.is_dir():
            shutil.rmtree(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _output_error(self.path, error, "") from error

    @property
    def kept(self) -> str:
        """A sentence naming the files that are complete."""
        return f"Kept in {self.path}: {', '.join(self.written)}" if self.written else f"Nothing is kept in {self.path}"

    def write(self, name: str, text: str) -> None:
        """Write one file of the run. Raises: OutputError."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text, kept=self.kept)
        if name not in self.written:
            self.written.append(name)

    def save(self, name: str, write: Callable[[Path], object]) -> None:
        """Let ``write`` put something whole under a name in the folder. Raises: OutputError, with what is kept."""
        try:
            write(self.path / name)
        except OutputError as error:
            raise OutputError(
                error.what, code=error.code, where=error.where, rule=self.kept, cure=error.cure
            ) from error
        self.written.append(name)
        self.log(f"finished: {name}")

    def keep_inputs(self, files: Sequence[Path]) -> None:
        """Copy the input files as they were given. Raises: OutputError."""
        for source in files:
            self.write(f"inputs/{source.parent.name}_{source.name}", source.read_text(encoding="utf-8"))

    def log(self, line: str) -> None:
        """Add a line, with its time, to ``log.txt``. Raises: OutputError."""
        self._log.append(f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}")
        write_atomically(self.path / "log.txt", "\n".join(self._log) + "\n", kept=self.kept)

    def finish(self, state: str = "finished") -> None:
        """Note how the run ended: ``finished``, ``interrupted`` or ``failed``. Raises: OutputError."""
        self.log(state)
        self._write_environment(state)

    def _write_environment(self, state: str) -> None:
        elapsed = (datetime.now(UTC) - self._started).total_seconds()
        environment = {
            "state": state,
            "started": self._started.isoformat(timespec="seconds"),
            "seconds": round(elapsed, 2),
            "options": self._command,
            **surroundings(),
        }
        write_atomically(self.path / "env.json", to_json(environment) + "\n", kept=self.kept)


def open_run(
    path: Path | None, command: Mapping[str, Any], inputs: Sequence[Path], *, overwrite: bool
) -> RunFolder | None:
    """The run folder with its input files, or None when no folder is asked for.

    Raises:
        UsageError: see `RunFolder`.
        OutputError: the folder cannot be written.
    """
    if path is None:
        return None
    folder = RunFolder(path, command, overwrite=overwrite)
    folder.keep_inputs(inputs)
    return folder


def write_report(path: Path, page: str, folder: RunFolder | None) -> None:
    """Write a page where `--report` asks for it, and say so. Raises: OutputError, with what is kept in the folder."""
    replaced = path.exists()
    write_atomically(path, page, kept=folder.kept if folder is not None else "")
    say(f"{'Replaced' if replaced else 'Wrote'} the report {path}.")


@contextmanager
def guarded(
    folder: RunFolder | None, cure: str = "Ask for fewer years or patients to see results sooner"
) -> Iterator[None]:
    """Note in the run folder how the work inside ended, and turn Ctrl-C into a sentence that says what is kept.

    Args:
        folder: of the run, if there is one.
        cure: what to do when nothing was finished in time.

    Raises:
        Interrupted: Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if folder is not None:
            folder.finish("interrupted")
        raise Interrupted(
            "the run was stopped before anything was finished",
            rule=folder.kept if folder is not None else "Nothing was written",
            cure=cure,
        ) from interrupt
    except BaseException:
        if folder is not None and folder.path.is_dir():
            with suppress(OutputError):
                folder.finish("failed")
        raise


def interruptible(work: Callable[[], T]) -> T:
    """Do the work in a thread of its own, so that Ctrl-C is heard at once even while compiled code runs.

    Ctrl-C is passed on to the work, which has a few seconds to hand over what is finished; then, or on a second Ctrl-C,
    its thread is left to itself, and the program must end with `os._exit`.

    Raises:
        KeyboardInterrupt: Ctrl-C; of the kind that the work raised, if it did in time.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while not outcome.done():
            wait([outcome], timeout=0.2)
    except KeyboardInterrupt:
        say("Stopping. Ctrl-C again leaves at once.")
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
        )
        wait([outcome], timeout=_GRACE_SECONDS)
        if not outcome.done():
            raise
    return outcome.result()


def surroundings() -> dict[str, Any]:
    """Versions and platform of this machine."""
    versions = {}
    for package in _NOTED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "versions": versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
    }
