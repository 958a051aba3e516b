"""The public list: sorted, importable, documented; importing the package loads nothing heavy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ipex_pd

ROOT = Path(__file__).parents[2]
# pydantic is missing from this list because typer loads it by itself.
HEAVY = ("jax", "sympy", "pandas", "pint", "matplotlib", "scipy", "numpy")


def test_public_list_is_pinned():
    assert ipex_pd.__all__ == [
        "Ensemble",
        "IpexError",
        "PlanOptions",
        "adaptive_dosing",
        "bootstrap",
        "bridge_timing",
        "catalogue",
        "compare",
        "compare_policies",
        "decision_paths",
        "diagnose",
        "ensemble_of",
        "fisher_information",
        "fit",
        "forecast",
        "load_cohort_problem",
        "load_draws",
        "load_drug",
        "load_parameters",
        "load_patient",
        "load_plan",
        "load_problem",
        "load_regimen",
        "measure",
        "optimal_stopping",
        "optimise_regimen",
        "pareto_front",
        "plan_from_json",
        "plan_sensitivity",
        "prediction_intervals",
        "profile",
        "simulate",
        "sir",
        "transplant_timing",
        "value_of_information",
        "value_of_waiting",
        "virtual_population",
        "write_fit_report",
        "write_forecast_report",
        "write_plan_report",
        "write_report",
    ]


def test_public_list_is_the_documented_list():
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert re.findall(r"^## `(\w+)", page, flags=re.MULTILINE) == ipex_pd.__all__


@pytest.mark.parametrize("name", ipex_pd.__all__)
def test_every_public_name_exists_and_says_what_it_does(name):
    assert (getattr(ipex_pd, name).__doc__ or "").strip()


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute `simulte`"):
        ipex_pd.simulte  # noqa: B018


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("code", ["import ipex_pd", "from ipex_pd.cli.main import run; run(['compare', '--help'])"])
def test_nothing_heavy_is_loaded_before_it_is_needed(code):
    assert loaded_after(code).isdisjoint(HEAVY)
