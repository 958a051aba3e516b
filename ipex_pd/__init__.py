"""Differentiable pharmacodynamics of IPEX syndrome. Research tool, not medical advice."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "Ensemble": "planning.ensemble",
    "IpexError": "errors",
    "PlanOptions": "planning.optimise",
    "adaptive_dosing": "planning.adaptive",
    "bootstrap": "inference.resampling",
    "bridge_timing": "planning.bridges",
    "catalogue": "records.library",
    "compare": "planning.comparison",
    "compare_policies": "planning.policies",
    "decision_paths": "planning.timing_paths",
    "diagnose": "inference.diagnostics.summary",
    "ensemble_of": "planning.ensemble",
    "fisher_information": "inference.design",
    "fit": "inference.estimation",
    "forecast": "inference.forecast",
    "load_cohort_problem": "records.library",
    "load_draws": "records.draws",
    "load_drug": "records.library",
    "load_parameters": "records.library",
    "load_patient": "records.library",
    "load_plan": "records.library",
    "load_problem": "records.library",
    "load_regimen": "records.library",
    "measure": "simulation.measuring",
    "optimal_stopping": "planning.stopping",
    "optimise_regimen": "planning.optimise",
    "pareto_front": "planning.pareto",
    "plan_from_json": "planning.plan",
    "plan_sensitivity": "planning.sensitivity",
    "prediction_intervals": "inference.intervals",
    "profile": "inference.profiles",
    "simulate": "simulation.simulation",
    "sir": "inference.importance_resampling",
    "transplant_timing": "planning.timing",
    "value_of_information": "planning.information",
    "value_of_waiting": "planning.waiting",
    "virtual_population": "simulation.population",
    "write_fit_report": "report.fit_html",
    "write_forecast_report": "report.forecast_html",
    "write_plan_report": "report.plan_html",
    "write_report": "report.html",
}

__version__ = "0.1.0"
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from ipex_pd.errors import IpexError as IpexError
    from ipex_pd.inference.design import fisher_information as fisher_information
    from ipex_pd.inference.diagnostics.summary import diagnose as diagnose
    from ipex_pd.inference.estimation import fit as fit
    from ipex_pd.inference.forecast import forecast as forecast
    from ipex_pd.inference.importance_resampling import sir as sir
    from ipex_pd.inference.intervals import prediction_intervals as prediction_intervals
    from ipex_pd.inference.profiles import profile as profile
    from ipex_pd.inference.resampling import bootstrap as bootstrap
    from ipex_pd.planning.adaptive import adaptive_dosing as adaptive_dosing
    from ipex_pd.planning.bridges import bridge_timing as bridge_timing
    from ipex_pd.planning.comparison import compare as compare
    from ipex_pd.planning.ensemble import Ensemble as Ensemble
    from ipex_pd.planning.ensemble import ensemble_of as ensemble_of
    from ipex_pd.planning.information import value_of_information as value_of_information
    from ipex_pd.planning.optimise import PlanOptions as PlanOptions
    from ipex_pd.planning.optimise import optimise_regimen as optimise_regimen
    from ipex_pd.planning.pareto import pareto_front as pareto_front
    from ipex_pd.planning.plan import plan_from_json as plan_from_json
    from ipex_pd.planning.policies import compare_policies as compare_policies
    from ipex_pd.planning.sensitivity import plan_sensitivity as plan_sensitivity
    from ipex_pd.planning.stopping import optimal_stopping as optimal_stopping
    from ipex_pd.planning.timing import transplant_timing as transplant_timing
    from ipex_pd.planning.timing_paths import decision_paths as decision_paths
    from ipex_pd.planning.waiting import value_of_waiting as value_of_waiting
    from ipex_pd.records.draws import load_draws as load_draws
    from ipex_pd.records.library import catalogue as catalogue
    from ipex_pd.records.library import load_cohort_problem as load_cohort_problem
    from ipex_pd.records.library import load_drug as load_drug
    from ipex_pd.records.library import load_parameters as load_parameters
    from ipex_pd.records.library import load_patient as load_patient
    from ipex_pd.records.library import load_plan as load_plan
    from ipex_pd.records.library import load_problem as load_problem
    from ipex_pd.records.library import load_regimen as load_regimen
    from ipex_pd.report.fit_html import write_fit_report as write_fit_report
    from ipex_pd.report.forecast_html import write_forecast_report as write_forecast_report
    from ipex_pd.report.html import write_report as write_report
    from ipex_pd.report.plan_html import write_plan_report as write_plan_report
    from ipex_pd.simulation.measuring import measure as measure
    from ipex_pd.simulation.population import virtual_population as virtual_population
    from ipex_pd.simulation.simulation import simulate as simulate


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"ipex_pd.{_HOME[name]}"), name)
    raise AttributeError(f"module `ipex_pd` has no attribute `{name}`")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
