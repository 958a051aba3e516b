"""Generate, compile and drive the C peers (DOP853, CVODE Adams, CVODE BDF)."""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sympy
from scipy.integrate._ivp import dop853_coefficients as dop853
from sympy.printing.c import C99CodePrinter

from benchmarks.equations import Array, Equations
from benchmarks.timeline import Segment
from ipex_pd.equations.model import age

Method = Literal["dop853", "cvode_adams", "cvode_bdf"]
METHODS: tuple[Method, ...] = ("dop853", "cvode_adams", "cvode_bdf")
SOURCE = Path(__file__).with_name("native.c")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-std=gnu11", "-shared", "-fPIC")
SUNDIALS = (
    "-DWITH_CVODE",
    "-lsundials_cvode",
    "-lsundials_nvecserial",
    "-lsundials_sunmatrixdense",
    "-lsundials_sunlinsoldense",
    "-lsundials_sunnonlinsolfixedpoint",
)


class PeerMissing(Exception):
    """A peer is not installed here; the sentence says what to install."""


class _Printer(C99CodePrinter):  # type: ignore[misc]
    """Integer powers are multiplications, as in every other peer."""

    def _print_Pow(self, e: sympy.Pow) -> str:
        n = e.exp
        if n.is_Integer and 2 <= abs(int(n)) <= 16:
            power = f"power({self._print(e.base)}, {abs(int(n))})"
            return power if n > 0 else f"(1.0/{power})"
        printed: str = super()._print_Pow(e)
        return printed


def _function(name: str, outputs: str, results: dict[int, sympy.Expr], given: dict[sympy.Symbol, str]) -> str:
    shared, values = sympy.cse(list(results.values()), symbols=sympy.numbered_symbols("s_"), order="none")
    printer = _Printer()
    naming = {s: sympy.Symbol(text) for s, text in given.items()}
    lines = [f"const double {s} = {printer.doprint(e.xreplace(naming))};" for s, e in shared]
    lines += [f"{outputs}[{i}] = {printer.doprint(v.xreplace(naming))};" for i, v in zip(results, values, strict=True)]
    body = "\n    ".join(lines)
    head = (
        f"static void {name}(double age, const double *x, const double *infusion, const double *q, double *{outputs})"
    )
    return f"{head} {{\n    (void)age, (void)infusion;\n    {body}\n}}\n"


def _table(name: str, values: Array) -> str:
    rows = ", ".join(f"{float(v):.17g}" for v in np.ravel(values))
    shape = "".join(f"[{n}]" for n in np.shape(values))
    inner = rows
    if np.ndim(values) == 2:
        inner = ", ".join("{" + ", ".join(f"{float(v):.17g}" for v in row) + "}" for row in values)
    return f"static const double {name}{shape} = {{{inner}}};\n"


def source_of(equations: Equations) -> str:
    """The whole C text: coefficients, right-hand side, Jacobian (column major), drivers."""
    size = len(equations.states)
    given: dict[sympy.Symbol, str] = {age: "age"}
    for letter, symbols in (("x", equations.x), ("infusion", equations.infusion), ("q", equations.q)):
        given |= {s: f"{letter}[{i}]" for i, s in enumerate(symbols)}
    rates = dict(enumerate(equations.rates))
    slopes = {}
    for i, rate in rates.items():
        for j, x in enumerate(equations.x):
            if rate.has(x):
                slopes[j * size + i] = sympy.diff(rate, x)
    power = (
        "static inline double power(double x, int n) {\n    double y = 1.0;\n"
        "    for (; n; n >>= 1, x *= x) if (n & 1) y *= x;\n    return y;\n}\n"
    )
    tables = (
        _table("RK_A", dop853.A[:12, :12])
        + _table("RK_B", dop853.B)
        + _table("RK_C", dop853.C[:12])
        + _table("RK_E3", dop853.E3[:12])
        + _table("RK_E5", dop853.E5[:12])
    )
    head = f"#include <math.h>\n#define NEQ {size}\n{power}{tables}"
    return (
        head
        + _function("rhs", "dx", rates, given)
        + "\n#ifdef WITH_CVODE\n"
        + _function("jacobian", "J", slopes, given)
        + "#endif\n"
        + SOURCE.read_text()
    )


@lru_cache(maxsize=1)
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="ipex_benchmarks_"))


@dataclass(frozen=True)
class Library:
    """A compiled peer: its handle, whether CVODE is inside, seconds to generate and to compile."""

    handle: ctypes.CDLL = field(repr=False)
    cvode: bool
    generate_s: float
    compile_s: float


_libraries: dict[str, Library] = {}


def library(equations: Equations) -> Library:
    """Compile the peer of a system once. Raises: PeerMissing."""
    if shutil.which("gcc") is None:
        raise PeerMissing("gcc is not installed: compiled peers skipped (Debian: apt install gcc libsundials-dev)")
    begin = time.perf_counter()
    text = source_of(equations)
    generate_s = time.perf_counter() - begin
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    if key in _libraries:
        return _libraries[key]
    path = _folder() / f"{key}.c"
    path.write_text(text)
    begin = time.perf_counter()
    out = path.with_suffix(".so")
    with_cvode = _gcc(path, out, SUNDIALS)
    if not with_cvode and not _gcc(path, out, ()):
        raise PeerMissing("gcc could not compile the generated peer: compiled peers skipped")
    found = Library(ctypes.CDLL(str(out)), with_cvode, generate_s, time.perf_counter() - begin)
    _libraries[key] = found
    return found


def _gcc(path: Path, out: Path, extra: tuple[str, ...]) -> bool:
    done = subprocess.run(["gcc", *FLAGS, str(path), "-o", str(out), *extra, "-lm"], capture_output=True, check=False)
    return done.returncode == 0


@dataclass(eq=False)
class Native:
    """A compiled integrator as `timeline.Integrate`, with the seconds spent inside and its counts.

    Attributes:
        equations: what is integrated.
        method: which.
        rtol: relative tolerance.
        scale: [n] size of every state; the absolute tolerance is ``rtol * floor * scale``.
        floor: of the absolute tolerance.
    """

    equations: Equations
    method: Method
    rtol: float
    scale: Array
    floor: float = 1e-4
    seconds: float = 0.0
    calls: int = 0
    failed: int = 0
    _restart: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.library = library(self.equations)
        if self.method != "dop853" and not self.library.cvode:
            raise PeerMissing("SUNDIALS is not installed: CVODE skipped (Debian: apt install libsundials-dev)")

    def __call__(self, segment: Segment, x: Array, infusion: Array) -> tuple[Array, Array, Array]:
        """Integrate one segment."""
        n, patients = x.shape
        if self._restart is None or len(self._restart) != patients:
            self._restart = np.full(patients, 1e-3)
        wide = [np.ascontiguousarray(a.T, float) for a in (segment.q, segment.event_time, segment.event_value)]
        rows = np.ascontiguousarray(segment.event_row.T, np.int32)
        states, rates = np.array(x.T, float, order="C"), np.array(infusion.T, float, order="C")
        ages, outputs = np.ascontiguousarray(segment.age, float), np.ascontiguousarray(segment.outputs, float)
        out = np.empty((patients, len(outputs), n))
        atol = self.rtol * self.floor * np.asarray(self.scale, float)
        calls = ctypes.c_long(0)
        begin = time.perf_counter()
        self.failed += self.library.handle.segment(
            METHODS.index(self.method),
            patients,
            rows.shape[1],
            len(outputs),
            rates.shape[1],
            wide[0].shape[1],
            ctypes.c_double(segment.begin),
            ctypes.c_double(segment.end),
            _at(ages),
            _at(wide[0]),
            _at(wide[1]),
            _at(rows),
            _at(wide[2]),
            _at(outputs),
            _at(states),
            _at(rates),
            _at(self._restart),
            _at(out),
            ctypes.c_double(self.rtol),
            _at(atol),
            ctypes.byref(calls),
        )
        self.seconds += time.perf_counter() - begin
        self.calls += calls.value
        return states.T, rates.T, np.moveaxis(out, 0, 2)


def _at(array: Array) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)
