"""What a data checker found: each with its row, subject, column, value, rule and cure; all errors told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ipex_pd.errors import RecordError

Severity = Literal["error", "warning", "note"]
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, doubtful or worth knowing.

    Args:
        code: stable identifier such as ``data.time-decreases``.
        severity: ``error`` (the data cannot be used), ``warning`` or ``note``.
        row: line of the file, 0 when it is about no single row.
        subject: the subject's ID, empty when it is about none.
        column: header.
        value: what stands there.
        rule: what holds.
        cure: what to do.
        count: how many rows it speaks for, ``row`` being the first.
    """

    code: str
    severity: Severity
    row: int
    subject: str
    column: str
    value: str
    rule: str
    cure: str
    count: int = 1

    @property
    def place(self) -> str:
        """`row 12, subject 3`."""
        row = f"row {self.row}" if self.row else ""
        if self.count > 1:
            row += f" and {self.count - 1} more"
        return ", ".join(part for part in (row, f"subject {self.subject}" if self.subject else "") if part)

    @property
    def what(self) -> str:
        """`TIME = 4`."""
        return f"{self.column} = {self.value}" if self.column and self.value else self.column or self.value

    @property
    def text(self) -> str:
        """The finding in one line."""
        head = ", ".join(part for part in (self.place, self.what) if part)
        parts = [f"{head}: {self.rule}" if head else self.rule, self.cure]
        return " ".join(part.rstrip(". ") + "." for part in parts if part) + f" [{self.code}]"

    def as_dict(self) -> dict[str, Any]:
        """The same, for machines."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class DataError(RecordError):
    """A dataset with errors; `findings` holds them all, warnings and notes included."""

    default_code = "data"

    def __init__(self, where: str, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        errors = [finding for finding in self.findings if finding.severity == "error"]
        kinds = {finding.code: finding for finding in reversed(errors)}
        shown = [finding.text for finding in sorted(kinds.values(), key=errors.index)[:_SHOWN]]
        subjects = len({finding.subject for finding in errors if finding.subject})
        what = f"{len(errors)} error(s)" + (f" in {subjects} subject(s)" if subjects else "")
        more = f" ... and {len(errors) - len(shown)} more" if len(errors) > len(shown) else ""
        super().__init__(
            f"{what}: " + " ".join(shown) + more,
            code=errors[0].code if errors else self.default_code,
            where=where,
            cure="List them all: ipex-pd check" if more else "",
        )


@dataclass
class Notebook:
    """Where checks write what they find."""

    where: str
    findings: list[Finding] = field(default_factory=list)

    def write(
        self,
        severity: Severity,
        code: str,
        rule: str,
        cure: str = "",
        *,
        row: int = 0,
        subject: str = "",
        column: str = "",
        value: str = "",
        count: int = 1,
    ) -> None:
        """One finding more."""
        self.findings.append(Finding(f"data.{code}", severity, row, subject, column, value, rule, cure, count))

    @property
    def has_errors(self) -> bool:
        """Whether the data cannot be used."""
        return any(finding.severity == "error" for finding in self.findings)

    def stop_on_errors(self) -> None:
        """Raise what was found so far.

        Raises:
            DataError: there is an error.
        """
        if self.has_errors:
            raise DataError(self.where, self.sorted())

    def sorted(self) -> tuple[Finding, ...]:
        """Errors first, then in the order of the file."""
        order = {"error": 0, "warning": 1, "note": 2}
        return tuple(sorted(self.findings, key=lambda finding: (order[finding.severity], finding.row)))
