"""Plans: daily doses of three drugs searched, the transplant day profiled, and what SciPy would take for the search."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from benchmarks.figures import Figure, Goal, Part
from benchmarks.measure import say, worker

DAYS: dict[str, Any] = {
    "weeks": 12,
    "children": 20,
    "draws": 10,
    "iterations": 60,
    "repeats": 5,
    "columns": 32,
    "lsoda": 2,
}
DAYS_QUICK: dict[str, Any] = {
    "weeks": 2,
    "children": 2,
    "draws": 1,
    "iterations": 2,
    "repeats": 1,
    "columns": 2,
    "lsoda": 1,
}
PROFILE: dict[str, Any] = {"children": 50, "draws": 200, "warm": 256, "days": []}
PROFILE_QUICK: dict[str, Any] = {"children": 2, "draws": 2, "warm": 4, "days": [360.0]}
SEARCH = 60.0
TIMING = 180.0
TIMES_FEWER = 50.0


def measure(*, quick: bool) -> Part:
    """Two shipped plans, each in a process of its own; the first one with an empty compile cache."""
    say("planning: daily doses of three drugs")
    with tempfile.TemporaryDirectory(prefix="ipex_planning_") as cache:
        days = worker("plan_days", cache=cache, **(DAYS_QUICK if quick else DAYS))
    say(f"  one search {days['search_s']:.1f} s, whole plan {days['whole_s']:.1f} s; profile of the transplant day")
    profile = worker("timing_profile", **(PROFILE_QUICK if quick else PROFILE))
    say(f"  {profile['profile_s']:.1f} s")
    return Part("planning", [*_searched(days), *_against_scipy(days), *_profiled(profile)], {"days": days} | profile)


def _searched(days: dict[str, Any]) -> list[Figure]:
    members, free = days["members"], days["free"]
    gained = days["goal_after"] - days["goal_before"]
    return [
        Figure(
            f"searches of a plan with {free} daily doses, {members} members",
            days["whole_searches_s"],
            "s",
            Goal("at most", SEARCH),
            f"`optimise_regimen` with default options up to rounding, compiled; {days['agreement']}",
        ),
        Figure(
            "the whole plan, compiled",
            days["whole_s"],
            "s",
            None,
            f"rounding {days['whole_rounding_s']:.1f} s, judgement in sample and on {members} fresh members "
            f"{days['whole_judging_s']:.1f} s; peak of the process {days['peak_mb'] / 1024:.2f} GB",
        ),
        Figure(
            "the whole plan, empty cache",
            days["cold_s"],
            "s",
            note=f"building programs took {days['building_s']:.1f} s, some of them side by side",
        ),
        Figure(
            "one search on all members",
            days["search_s"],
            "s",
            note="from the start regimen through both widths of smoothing, compiled; "
            f"{days['iterations']} iterations, {days['evaluations']} values with derivatives",
        ),
        Figure("value of a plan", days["value_s"], "s", note=f"{members} members, forward only"),
        Figure(
            "value, limits and all derivatives",
            days["gradient_s"],
            "s",
            note=f"{days['gradient_s'] / days['value_s']:.1f} values",
        ),
        Figure(
            "goal gained by that search",
            gained,
            "",
            note=f"from {days['goal_before']:.4f} to {days['goal_after']:.4f}, violation {days['violation']:.1e}; the "
            f"whole plan, rounded and on fresh members, {days['gain']:.4f} "
            f"({days['gain_low']:.4f} to {days['gain_high']:.4f})",
        ),
        Figure(
            "projected gradient at its end, relative to the start's",
            days["relative_gradient"],
            "",
            note=f"{days['projected_gradient']:.1e}; {days['outcome']}",
        ),
    ]


def _against_scipy(days: dict[str, Any]) -> list[Figure]:
    """SLSQP with differences: a value at each point of our search, and one more for each dose at each iteration."""
    values = days["evaluations"] + days["iterations"] * days["free"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    same = values * days["difference_s"]
    lsoda = values * days["lsoda_s"] * days["members"] / cores
    told = (
        f"extrapolated to {values} values: one at each point of our search, {days['free']} more at each iteration; "
        "limits counted as free"
    )
    return [
        Figure(
            "SciPy's SLSQP once, with its own differences on our values, over all searches of the plan",
            same / days["whole_searches_s"],
            "x",
            Goal("at least", TIMES_FEWER),
            f"{same:.0f} s, {told}; {days['differences']} differences of {days['difference_s']:.3f} s were measured; "
            f"they miss derivatives by {days['difference_error']:.0e} of the largest; the searches of the plan end at "
            f"{days['goal_found']:.4f}, the one that SciPy's is counted by at {days['goal_after']:.4f}",
        ),
        Figure("the same over one exhaustive search of ours", same / days["search_s"], "x"),
        Figure(
            "SciPy's SLSQP with SciPy's LSODA as solver, over all searches of the plan",
            lsoda / days["whole_searches_s"],
            "x",
            Goal("at least", TIMES_FEWER),
            f"{lsoda / 3600:.0f} h, {told}; {days['lsoda_members']} members took {days['lsoda_s']:.2f} s each at "
            f"tolerance 1e-6, as if {cores} cores shared the others; states {days['lsoda_apart']:.0e} from ours",
        ),
    ]


def _profiled(profile: dict[str, Any]) -> list[Figure]:
    members, days = profile["members"], profile["days"]
    return [
        Figure(
            f"profile of the transplant day over five years, {members} members",
            profile["profile_s"],
            "s",
            Goal("at most", TIMING),
            f"{len(days)} days between {min(days):g} and {max(days):g}, and never; best of these {profile['best']:g} "
            f"({profile['low']:g} to {profile['high']:g}); compiled on {profile['warm_members']} members in "
            f"{profile['warm_s']:.0f} s; drawing the members took {profile['build_s']:.1f} s",
        ),
        Figure("peak memory of the profile", profile["peak_mb"] / 1024, "GB"),
    ]
