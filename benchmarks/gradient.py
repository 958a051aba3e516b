"""One endpoint differentiated with respect to 365 daily doses and the day of transplant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.engine import run
from benchmarks.figures import Figure, Goal, Part
from benchmarks.measure import repeated, say
from benchmarks.problem import HERE, case_of, weekly
from benchmarks.timeline import Case
from ipex_pd.numerics.gradients import freeze, solve_traced
from ipex_pd.numerics.solve import SolverOptions
from ipex_pd.records.library import load_patient
from ipex_pd.simulation.population import single

REGIMEN = str(HERE / "regimens" / "gradient.yaml")
ENDPOINT = "cumulative_hazard_disease"
HORIZON = 400.0


def measure(*, quick: bool) -> Part:
    """One child, 400 days, reverse mode on the frozen mesh, against one simulation and against differences."""
    horizon = 190.0 if quick else HORIZON
    repeats = 1 if quick else 5
    case = case_of(single(load_patient("seidel_2009")), REGIMEN, np.append(weekly(horizon / 365.25)[:-1], horizon))
    function, point = _endpoint(case)
    forward, backward = jax.jit(function), jax.jit(jax.value_and_grad(function))
    say("gradient: one simulation, traced")
    compile_forward, forward_s, _ = repeated(lambda: jax.block_until_ready(forward(point)), repeats)
    say(f"  {forward_s:.3f} s (compile {compile_forward:.1f} s); value and gradient")
    compile_backward, backward_s, _ = repeated(lambda: jax.block_until_ready(backward(point)), repeats)
    say(f"  {backward_s:.3f} s (compile {compile_backward:.1f} s); one simulation by solve()")
    options = SolverOptions(audit="off")
    _, plain_s, _ = repeated(lambda: run(case, options), repeats)
    worst, checked = _against_differences(forward, np.asarray(backward(point)[1]), point, 3 if quick else 24)
    figures = [
        Figure(
            "value and gradient over one simulation by `solve`",
            backward_s / plain_s,
            "x",
            Goal("at most", 10),
            f"{backward_s:.3f} s and {plain_s:.3f} s (no audit); {len(point)} derivatives; compile "
            f"{compile_backward:.1f} s apart",
        ),
        Figure(
            "value and gradient over the same traced simulation",
            backward_s / forward_s,
            "x",
            Goal("at most", 10),
            f"the traced simulation takes {forward_s:.3f} s, compile {compile_forward:.1f} s apart",
        ),
        Figure(
            "central differences would take, in gradients",
            2 * len(point) * plain_s / backward_s,
            "x",
            note="two simulations for each derivative",
        ),
        Figure(
            "gradient against central differences",
            worst,
            "",
            Goal("at most", 1e-5),
            f"largest difference over the largest derivative of its kind; {checked} doses and the transplant day",
        ),
    ]
    return Part(
        "gradient",
        figures,
        {
            "forward_s": forward_s,
            "backward_s": backward_s,
            "solve_s": plain_s,
            "compile_forward_s": compile_forward,
            "compile_backward_s": compile_backward,
        },
    )


def _endpoint(case: Case) -> tuple[Any, np.ndarray]:
    """log of the cumulative hazard by disease at the end, of (doses [mg/kg], transplant day)."""
    start = dict(zip(case.system.model.states, case.start, strict=True))
    frozen = freeze(case.system, case.schedule, case.theta, age=case.age, output_times=case.times[-1:], state=start)
    row = case.system.model.states.index(ENDPOINT)
    given = np.flatnonzero(np.asarray(case.schedule.amount) > 0)

    def function(point: Any) -> Any:
        amount = jnp.asarray(case.schedule.amount).at[given].set(point[:-1])
        schedule = replace(case.schedule, amount=amount, transplant_times=point[-1:])
        return jnp.log(solve_traced(frozen, schedule, case.theta, age=case.age, state=start).states[-1, row, 0])

    return function, np.append(np.asarray(case.schedule.amount)[given], np.asarray(case.schedule.transplant_times)[0])


def _against_differences(function: Any, gradient: np.ndarray, point: np.ndarray, count: int) -> tuple[float, int]:
    """Largest disagreement, doses relative to the largest dose derivative, the day relative to its own."""
    chosen = np.unique(np.linspace(0, len(point) - 2, count).astype(int))
    worst = 0.0
    for i in (*chosen, len(point) - 1):
        size = 1e-3
        shifts = [float(function(point + k * size * (np.arange(len(point)) == i))) for k in (-2, -1, 1, 2)]
        slope = (shifts[0] - 8 * shifts[1] + 8 * shifts[2] - shifts[3]) / (12 * size)
        scale = abs(gradient[-1]) if i == len(point) - 1 else np.abs(gradient[:-1]).max()
        worst = max(worst, abs(slope - gradient[i]) / scale)
    return float(worst), len(chosen)
