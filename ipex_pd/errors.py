"""Errors of this project. Each says where it stands, what is wrong, the rule it breaks and the cure.

```
IpexError
├── RecordError        a file or record that people wrote
│   ├── UnknownKeyError    a key or name that does not exist (with the nearest that do)
│   ├── UnitError          a missing, unknown or incompatible unit
│   └── SourceError        a number without a source or an assumption
├── ModelError         equations that do not fit together (names, dimensions, linearity in inputs)
├── SimulationError    a simulation that cannot be done as asked, or failed
│   └── SolverError        the numerics gave up on a patient
├── OutputError        a run folder or report that cannot be written
└── UsageError         an option or argument that this command cannot honour
```
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IpexError(Exception):
    """Base of all errors that this project raises on purpose.

    Args:
        what: what is wrong, in one clause.
        code: stable identifier, e.g. ``record.unknown-key``.
        where: file, line, record or option; empty when there is no better place than the call.
        rule: the rule that is broken.
        cure: what to do about it.
    """

    default_code = "error"

    def __init__(self, what: str, *, code: str = "", where: str = "", rule: str = "", cure: str = "") -> None:
        self.what, self.where, self.rule, self.cure = what, where, rule, cure
        self.code = code or self.default_code
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The full text: ``where: what. rule cure``."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        parts = [head, self.rule, self.cure]
        return " ".join(part.rstrip(". ") + "." for part in parts if part)

    def as_dict(self) -> dict[str, str]:
        """The same, for machines."""
        return {"code": self.code, "where": self.where, "what": self.what, "rule": self.rule, "cure": self.cure}


class RecordError(IpexError):
    """A file or record that cannot be accepted."""

    default_code = "record"


class UnknownKeyError(RecordError):
    """A key or name that does not exist."""

    default_code = "record.unknown-key"


class UnitError(RecordError):
    """A missing, unknown or incompatible unit."""

    default_code = "record.unit"


class SourceError(RecordError):
    """A number without a source or an assumption."""

    default_code = "record.source"


class ModelError(IpexError):
    """Equations that do not fit together."""

    default_code = "model"


class SimulationError(IpexError):
    """A simulation that cannot be done as asked, or failed."""

    default_code = "simulation"


class SolverError(SimulationError):
    """The numerics gave up on a patient."""

    default_code = "simulation.solver"


class OutputError(IpexError):
    """A run folder or report that cannot be written."""

    default_code = "output"


class UsageError(IpexError):
    """An option or argument that cannot be honoured."""

    default_code = "usage"


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The names in ``known`` that look most like ``name``, best first."""
    return difflib.get_close_matches(name, sorted(known), n=count, cutoff=0.5)


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest known names, or all of them when none is near."""
    names = sorted(known)
    near = nearest(name, names)
    if near:
        return "Nearest: " + ", ".join(f"`{n}`" for n in near)
    return "Known: " + ", ".join(f"`{n}`" for n in names) if names else "None is known"
