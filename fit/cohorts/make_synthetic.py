"""Draws the synthetic cohorts of this folder: `python fit/cohorts/make_synthetic.py [folder]`.

Every number that a cohort was drawn with stands here and in the cohort's own page. NumPy's PCG64 with the seed of the
cohort draws in the order of the file, so that the tables can be drawn again, number by number. Closed forms (and SciPy
for the indirect response) are written out here and use nothing of ipex_pd.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

Numbers = NDArray[np.float64]
Table = list[Sequence[object]]


def one_compartment(seed: int = 101) -> Table:
    """Oral doses of 100 mg each day for three days in 40 subjects; limit of quantification 0.2 mg/L."""
    rng = np.random.default_rng(seed)
    rows: Table = [("ID", "TIME", "AMT", "II", "ADDL", "DV", "CENS", "WT")]
    times = np.array([0.5, 2.0, 8.0, 23.5, 49.0, 52.0, 60.0, 71.5])
    for subject in range(1, 41):
        weight = round(float(np.clip(rng.normal(70, 12), 42, 110)), 1)
        eta = rng.normal(0, [0.25, 0.2, 0.4])
        clearance = 4.0 * (weight / 70) ** 0.75 * np.exp(eta[0])
        volume = 40.0 * (weight / 70) * np.exp(eta[1])
        absorption = 1.2 * np.exp(eta[2])
        concentration = sum(_oral(100.0, times - start, absorption, clearance, volume) for start in (0, 24, 48))
        sd = np.sqrt(0.05**2 + (0.12 * concentration) ** 2)
        measured = concentration + sd * rng.normal(size=len(times))
        rows.append((subject, 0, 100, 24, 2, ".", 0, weight))
        for time, value in zip(times, measured, strict=True):
            below = value < 0.2
            rows.append((subject, time, ".", ".", ".", 0.2 if below else float(f"{value:.4g}"), int(below), weight))
    return rows


def _oral(dose: float, time: Numbers, absorption: float, clearance: float, volume: float) -> Numbers:
    since = np.maximum(time, 0.0)
    rate = clearance / volume
    return dose * absorption / (volume * (absorption - rate)) * (np.exp(-rate * since) - np.exp(-absorption * since))


def two_compartments(seed: int = 102) -> Table:
    """Infusions of 200 mg over 1 h on two occasions in 30 subjects, washed out between them."""
    rng = np.random.default_rng(seed)
    rows: Table = [("ID", "TIME", "EVID", "AMT", "RATE", "DV", "OCC")]
    times = np.array([1.0, 1.5, 3.0, 6.0, 12.0, 24.0, 48.0])
    covariance = np.array([[0.09, 0.03], [0.03, 0.0625]])
    for subject in range(1, 31):
        eta = rng.multivariate_normal([0, 0], covariance)
        occasions = rng.normal(0, 0.15, size=2)
        volumes = 12.0 * np.exp(eta[1]), 30.0
        for number, start in enumerate((0.0, 168.0)):
            clearance = 3.0 * np.exp(eta[0] + occasions[number])
            concentration = _infused(200.0, 1.0, times, clearance, volumes, 6.0)
            measured = concentration + (0.05 + 0.1 * concentration) * rng.normal(size=len(times))
            rows.append((subject, start, 1 if number == 0 else 4, 200, 200, ".", number + 1))
            rows += [
                (subject, start + t, 0, ".", ".", float(f"{v:.4g}"), number + 1)
                for t, v in zip(times, measured, strict=True)
            ]
    return rows


def _infused(
    dose: float, length: float, time: Numbers, clearance: float, volumes: tuple[float, float], flow: float
) -> Numbers:
    """Concentration of two compartments after one infusion."""
    out, away, back = clearance / volumes[0], flow / volumes[0], flow / volumes[1]
    total, product = out + away + back, out * back
    root = np.sqrt(total**2 - 4 * product)
    fast, slow = (total + root) / 2, (total - root) / 2
    since = np.maximum(time - length, 0.0)
    running = np.minimum(time, length)
    found = np.zeros_like(time)
    for rate, other in ((fast, slow), (slow, fast)):
        share = (back - rate) / (other - rate) / volumes[0]
        found += dose / length * share / rate * (1 - np.exp(-rate * running)) * np.exp(-rate * since)
    return found


def decay(seed: int = 103) -> Table:
    """An observed quantity that falls from 10 with a rate that differs between 20 subjects; error in proportion."""
    rng = np.random.default_rng(seed)
    rows: Table = [("ID", "TIME", "DV")]
    for subject in range(1, 21):
        rate = 0.5 * np.exp(rng.normal(0, 0.3))
        for time in (0.0, 0.5, 1.0, 2.0, 4.0):
            level = 10.0 * np.exp(-rate * time)
            rows.append((subject, time, float(f"{level * (1 + 0.1 * rng.normal()):.4g}")))
    return rows


def indirect_response(seed: int = 104) -> Table:
    """Single oral doses in 24 subjects; the drug inhibits the production of a response. DVID 1 drug, 2 response."""
    rng = np.random.default_rng(seed)
    rows: Table = [("ID", "TIME", "AMT", "DV", "DVID")]
    times = np.array([1.0, 4.0, 12.0, 24.0, 48.0, 72.0, 120.0])
    for subject in range(1, 25):
        eta = rng.normal(0, [0.25, 0.2, 0.2])
        clearance, volume, absorption = 0.5 * np.exp(eta[0]), 10.0 * np.exp(eta[1]), 1.0
        production, loss, half = 5.0 * np.exp(eta[2]), 0.05, 1.5
        dose = (50, 100, 200)[subject % 3]

        system = _indirect(float(dose), absorption, clearance, volume, production, loss, half)
        start = [production / loss]
        solved = solve_ivp(system, (0, 121), start, t_eval=times, rtol=1e-9, atol=1e-9)
        drug = _oral(dose, times, absorption, clearance, volume) * np.exp(0.1 * rng.normal(size=len(times)))
        response = solved.y[0] + 4.0 * rng.normal(size=len(times))
        rows.append((subject, 0, dose, ".", "."))
        for time, level, value in zip(times, drug, response, strict=True):
            rows.append((subject, time, ".", float(f"{level:.4g}"), 1))
            rows.append((subject, time, ".", float(f"{value:.4g}"), 2))
    return rows


def _indirect(
    dose: float, absorption: float, clearance: float, volume: float, production: float, loss: float, half: float
) -> Callable[[float, Numbers], Numbers]:
    def rate(time: float, response: Numbers) -> Numbers:
        level = _oral(dose, np.array([time]), absorption, clearance, volume)
        return np.asarray(production * (1 - level / (half + level)) - loss * response)

    return rate


def time_to_event(seed: int = 105) -> Table:
    """Weibull times to an event in 80 subjects of two arms, followed for 365 days. DV 1 event, 0 none until then."""
    rng = np.random.default_rng(seed)
    rows: Table = [("ID", "TIME", "DV", "ARM")]
    for subject in range(1, 81):
        arm = subject % 2
        scale = 300.0 * np.exp(0.5 * arm)
        time = scale * (-np.log(rng.uniform())) ** (1 / 1.4)
        rows.append((subject, float(f"{min(time, 365.0):.4g}"), int(time < 365), arm))
    return rows


COHORTS: dict[str, Callable[[], Table]] = {
    "synthetic_one_compartment": one_compartment,
    "synthetic_two_compartments": two_compartments,
    "synthetic_decay": decay,
    "synthetic_indirect_response": indirect_response,
    "synthetic_time_to_event": time_to_event,
}


def as_csv(rows: Table) -> str:
    """The table as text."""
    return "\n".join(",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in row) for row in rows) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, draw in COHORTS.items():
        (target / f"{name}.csv").write_text(as_csv(draw()), encoding="utf-8")
