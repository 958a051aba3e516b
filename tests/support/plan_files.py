"""A plan of which tests change single lines."""

from __future__ import annotations

from pathlib import Path

from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.yamlfile import read_record

PLAN = """name: mine
description: my own
patient: seidel_2009
start:
  name: beginning
  description: prednisolone, tacrolimus and rituximab before a transplant
  doses:
    - {drug: prednisolone, amount: 2 mg/kg/day, route: oral, every: 1 day, taper: [{after: 28 day, to: 1 mg/kg/day},
       {after: 28 day, to: 0 mg/kg/day}]}
    - {drug: tacrolimus, amount: 0.15 mg/kg/day, route: oral, every: 12 h, stop: transplant - 1 day}
    - {drug: rituximab, amount: 375 mg/m2, route: iv, infusion: 4 h, every: 7 day, count: 4}
    - {drug: prednisolone, amount: 5 mg, route: oral, at: "08:00", start: 300}
  transplants:
    - day: 90
      conditioning: reduced
      serotherapy: alemtuzumab
      donor: matched_unrelated
      graft: marrow
      prophylaxis:
        - {drug: ciclosporin, amount: 6 mg/kg/day, route: oral, every: 12 h, start: -1, stop: 100}
alternatives: [sirolimus]
horizon: 365 day
ensemble: {children: 20, draws: 10, seed: 1}
free:
  - {dose: prednisolone, changes_every: 1 week, lowest: 0 mg/kg/day, highest: 2 mg/kg/day, until: 168}
  - {dose: tacrolimus, changes_on: [0, 14, 42], lowest: 0.02 mg/kg/day, highest: 0.4 mg/kg/day}
  - {interval: tacrolimus, among: [12 h, 24 h]}
  - {stop: "transplant: ciclosporin", earliest: 60, latest: 200}
  - {days: rituximab, earliest: 0, latest: 60, apart: 7}
  - {start: sirolimus, earliest: 0, latest: 56}
  - {transplant: day, earliest: 60, latest: 300}
  - {transplant: conditioning, among: [reduced, full]}
  - {transplant: donor, among: [{donor: matched_unrelated}, {donor: matched_related, from: 180}]}
goals:
  - {maximise: survival, weight: 1, assumed: a life}
  - {minimise: steroid_dose, weight: 0.002, source: {assumed: a tenth}}
  - maximise: quality_adjusted_time
    weight: 0.001
    states:
      remission: {value: 1, assumed: in full}
      active: {value: 60 %, assumed: ill}
      after_transplant: {value: 0.5, for: 100 day, assumed: in hospital}
      diabetes: {value: 0.9, assumed: insulin}
    assumed: a third
statistic: {quantile: 10 %}
limits:
  - {trough: tacrolimus, low: 5 ng/mL, high: 10 ng/mL, share: 90 %, from: 14, until: 56}
  - {trough: ciclosporin, high: 200 ng/mL, days: [120, 150]}
  - {daily_dose: prednisolone, most: 60 mg/day}
  - {single_dose: rituximab, most: 500 mg}
  - {cumulative_dose: prednisolone, most: 200 mg/kg}
  - {taper: prednisolone, smallest_step: 0.1 mg/kg/day}
  - {changes: tacrolimus, most: 2}
  - {visits: [0, 14, 28, 42, 56, 84]}
  - {strengths: prednisolone, of: [1 mg, 5 mg, 20 mg], halves: true}
  - {step: tacrolimus, of: 0.1 mg}
  - {not_together: [tacrolimus, ciclosporin]}
  - {apart: [rituximab, transplant], least: 7}
  - {prophylaxis: ciclosporin, least: 100}
  - {endpoint: infection_risk, most: 20 %, share: 90 %}
timing: {days: {from: 60, until: 300, every: 60}}
compare_with: [untreated]
"""
"""A sound plan with every kind of line."""


def changed(*changes: tuple[str, str]) -> str:
    """The plan with pieces of text replaced, each once."""
    text = PLAN
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def plan(*changes: tuple[str, str]) -> PlanningProblem:
    """The record, by itself."""
    return read_record(PlanningProblem, "mine.yaml", changed(*changes))


def written(folder: Path, *changes: tuple[str, str]) -> Path:
    """The plan as a file."""
    path = folder / "mine.yaml"
    path.write_text(changed(*changes), encoding="utf-8")
    return path
