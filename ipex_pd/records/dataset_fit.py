"""Whether a dataset fits a problem: every observation has one endpoint that can take it, every dose a place to go."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ipex_pd.records.datasets import Dataset, Subject
from ipex_pd.records.endpoints import AnyEndpoint, Continuous
from ipex_pd.records.findings import Finding, Notebook, Severity
from ipex_pd.records.models import StructuralModel
from ipex_pd.records.problems import EstimationProblem

Mask = NDArray[np.bool_]


def rows_of(endpoint: AnyEndpoint, subject: Subject, model: StructuralModel) -> Mask:
    """[R] observations of a subject that are of an endpoint, by DVID or CMT; all when it names neither."""
    mask = subject.observed
    if endpoint.dvid is not None:
        mask = mask & (subject.dvid == endpoint.dvid)
    if endpoint.cmt is not None:
        mask = mask & (_place(subject.cmt, model, model.default_observation) == endpoint.cmt)
    return np.asarray(mask)


def fit_findings(problem: EstimationProblem, model: StructuralModel, dataset: Dataset) -> tuple[Finding, ...]:
    """What in the data the problem cannot take, in the order of the file; errors first.

    Args:
        problem: whose data these are.
        model: its resolved model.
        dataset: as read.
    """
    found = Notebook(dataset.spec.file)
    checker = _Checker(problem, model, dataset, found)
    checker.endpoints()
    checker.observations()
    checker.doses()
    return found.sorted()


def require_fit(problem: EstimationProblem, model: StructuralModel, dataset: Dataset) -> None:
    """Refuse data that the problem cannot take.

    Raises:
        DataError: every such row, in `findings`.
    """
    found = Notebook(dataset.spec.file, list(fit_findings(problem, model, dataset)))
    found.stop_on_errors()


def _place(cmt: NDArray[np.int64], model: StructuralModel, default: str) -> NDArray[np.int64]:
    names = list(model.compartments)
    return np.where(cmt == 0, names.index(default) + 1 if default in names else 0, cmt)


class _Checker:
    def __init__(self, problem: EstimationProblem, model: StructuralModel, dataset: Dataset, found: Notebook) -> None:
        self.problem, self.model, self.dataset, self.found = problem, model, dataset, found

    def endpoints(self) -> None:
        """Each observation belongs to one endpoint; each endpoint has some."""
        for subject in self.dataset.subjects:
            count = sum((rows_of(e, subject, self.model).astype(int) for e in self._all()), np.zeros(len(subject.rows)))
            rule = "Every observation belongs to one endpoint, by its `dvid` or `cmt`"
            self._rows("error", "no-endpoint", subject, subject.observed & (count == 0), rule, "Add one, or MDV = 1")
            self._rows("error", "two-endpoints", subject, count > 1, rule, "Tell them apart by `dvid` or `cmt`")
        for name, endpoint in self.problem.endpoints.items():
            if not any(rows_of(endpoint, subject, self.model).any() for subject in self.dataset.subjects):
                rule = f"The endpoint `{name}` has no observation"
                self.found.write("error", "endpoint-empty", rule, "Correct its `dvid` or `cmt`, or take it out")

    def observations(self) -> None:
        """Values that an endpoint can take."""
        for name, endpoint in self.problem.endpoints.items():
            for subject in self.dataset.subjects:
                mask = rows_of(endpoint, subject, self.model)
                if isinstance(endpoint, Continuous):
                    self._measured(name, endpoint, subject, mask)
                else:
                    rule = f"DV of the event endpoint `{name}` is 1 (event) or 0 (none)"
                    self._rows("error", "event-dv", subject, mask & ~np.isin(subject.dv, (0, 1)), rule)

    def _measured(self, name: str, endpoint: Continuous, subject: Subject, mask: Mask) -> None:
        scale = endpoint.scale
        if scale is not None and scale.positive:
            rule = f"The endpoint `{name}` is fitted on a scale of positive values ({scale.kind})"
            cure = "Mark it as below the limit (CENS or BLQ), leave it out (MDV = 1), or fit it without that scale"
            self._rows("error", "not-positive", subject, mask & (subject.dv <= 0), rule, cure)
        if endpoint.censoring is None:
            rule = f"The endpoint `{name}` says nothing of censored observations"
            cure = "Write `censoring: m3` (or m1, m4)"
            self._rows("error", "censoring", subject, mask & (subject.cens != 0), rule, cure)

    def doses(self) -> None:
        """Compartments that exist, and modelled rates and durations where rows ask for them."""
        names = list(self.model.compartments)
        asked = {-1: "rate", -2: "duration"}
        for subject in self.dataset.subjects:
            given = np.isin(subject.evid, (1, 4))
            place = _place(subject.cmt, self.model, self.model.default_dose)
            lost = given & ((place < 1) | (place > len(names)))
            listed = ", ".join(f"{i} {name}" for i, name in enumerate(names, 1)) or "none"
            rule = f"Doses go to a compartment of the model: {listed}"
            self._rows("error", "dose-compartment", subject, lost, rule, "Correct CMT", "CMT", subject.cmt)
            for code, item in asked.items():
                for number in set(place[given & ~lost & (subject.rate == code)]):
                    dosing = self.problem.doses.get(names[number - 1])
                    if dosing is None or getattr(dosing, item) is None:
                        mask = given & (place == number) & (subject.rate == code)
                        rule = f"RATE = {code} takes the {item} from the model"
                        cure = f"Write `doses: {{{names[number - 1]}: {{{item}: ...}}}}`"
                        self._rows("error", f"no-modelled-{item}", subject, mask, rule, cure, "RATE", subject.rate)

    def _all(self) -> Iterator[AnyEndpoint]:
        return iter(self.problem.endpoints.values())

    def _rows(
        self,
        severity: Severity,
        code: str,
        subject: Subject,
        mask: Mask,
        rule: str,
        cure: str = "",
        column: str = "DV",
        values: NDArray[np.float64] | NDArray[np.int64] | None = None,
    ) -> None:
        shown = subject.dv if values is None else values
        for place in np.flatnonzero(mask):
            self.found.write(
                severity,
                code,
                rule,
                cure,
                row=int(subject.rows[place]),
                subject=subject.id,
                column=column,
                value=f"{shown[place]:g}",
            )
