"""From drug potencies to effects, and the standard forms the other subsystems write their rates with.

An effect is a time-only input of the rates. Drugs that share a target add their concentration/EC50 before the
saturation, so that tacrolimus and ciclosporin together behave as more of one of them. Steroids act through a genomic
delay: `steroid_signal` follows the effect and, being a state, may stand anywhere in the rates.
"""

from __future__ import annotations

import sympy

from ipex_pd.equations.model import Model
from ipex_pd.equations.states import cni_burden, steroid_burden, steroid_signal
from ipex_pd.equations.symbols import Name, effect, output, parameter, potency

potency_steroid = potency("steroid", "glucocorticoids: unbound prednisolone equivalent over EC50", r"s_S")
potency_calcineurin = potency("calcineurin", "calcineurin inhibitors: concentration over effective EC50", r"s_C")
potency_mtor = potency("mtor", "mTOR inhibitors: concentration over EC50", r"s_M")
potency_cd20 = potency("cd20", "anti-CD20 antibodies: concentration over EC50", r"s_R")

steroid_effect = effect("steroid_effect", "glucocorticoid receptor effect", r"u_S")
steroid_exposure = effect("steroid_exposure", "steroid concentration over EC50", r"u_X")
calcineurin_effect = effect("calcineurin_effect", "calcineurin inhibition", r"u_C")
mtor_effect = effect("mtor_effect", "mTOR inhibition", r"u_M")
calcineurin_mtor_effect = effect("calcineurin_mtor_effect", "both inhibitions at once", r"u_{CM}")
cd20_effect = effect("cd20_effect", "anti-CD20 effect", r"u_R")

steroid_onset = parameter("steroid_onset", "1/day", "rate at which the genomic steroid signal follows", r"k_S")
steroid_dose_at_ec50 = parameter(
    "steroid_dose_at_ec50", "mg/kg/day", "prednisolone dose that keeps the mean concentration at the EC50", r"d_S"
)
steroid_infection_risk = parameter("steroid_infection_risk", "1", "excess infection hazard at full steroid effect")
calcineurin_infection_risk = parameter("calcineurin_infection_risk", "1", "excess at full calcineurin inhibition")
mtor_infection_risk = parameter("mtor_infection_risk", "1", "excess infection hazard at full mTOR inhibition")

immunosuppression_index = output(
    "immunosuppression_index", "1", "excess infection hazard by the drugs now, as a share of the untreated one"
)


def emax(x: sympy.Expr) -> sympy.Expr:
    """Saturation ``x / (1 + x)`` of a potency."""
    return x / (1 + x)


def hill2(x: sympy.Expr, x50: sympy.Expr) -> sympy.Expr:
    """Saturation with exponent two: ``x^2 / (x50^2 + x^2)``."""
    return x**2 / (x50**2 + x**2)


def inhibition(maximum: sympy.Expr, by: sympy.Expr) -> sympy.Expr:
    """The factor ``1 - maximum * effect`` left by an inhibiting effect."""
    return 1 - maximum * by


def indirect_response(
    response: sympy.Expr,
    loss_rate: sympy.Expr,
    baseline: sympy.Expr,
    *,
    production: sympy.Expr | int = 1,
    loss: sympy.Expr | int = 1,
) -> sympy.Expr:
    """Turnover ``loss_rate * (baseline * production - response * loss)``: indirect response models I to IV.

    Args:
        response: the quantity.
        loss_rate: its turnover [1/day].
        baseline: its value without drug or disease.
        production: factor on production (models I and III).
        loss: factor on loss (models II and IV).
    """
    return loss_rate * (baseline * production - response * loss)


def drug_excess() -> sympy.Expr:
    """Excess infection hazard by drugs, linear in the effects."""
    return (
        steroid_infection_risk * steroid_signal
        + calcineurin_infection_risk * calcineurin_effect
        + mtor_infection_risk * mtor_effect
    )


def pharmacodynamics() -> Model:
    """Potencies to effects, the delayed steroid signal and the burdens of exposure."""
    effects: dict[Name, sympy.Expr] = {
        steroid_effect: emax(potency_steroid),
        steroid_exposure: potency_steroid,
        calcineurin_effect: emax(potency_calcineurin),
        mtor_effect: emax(potency_mtor),
        calcineurin_mtor_effect: emax(potency_calcineurin) * emax(potency_mtor),
        cd20_effect: emax(potency_cd20),
    }
    rates: dict[Name, sympy.Expr] = {
        steroid_signal: indirect_response(steroid_signal, steroid_onset, steroid_effect),
        steroid_burden: steroid_dose_at_ec50 * steroid_exposure,
        cni_burden: calcineurin_effect,
    }
    initial: dict[Name, sympy.Expr] = dict.fromkeys(rates, sympy.Integer(0))
    return Model("pharmacodynamics", rates, initial, effects, outputs={immunosuppression_index: drug_excess()})
