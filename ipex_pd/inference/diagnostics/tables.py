"""Tables of a fit in the columns that pharmacometricians expect: one row a record, and one row a subject."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ipex_pd.inference.binding import predict
from ipex_pd.inference.diagnostics.dense import by_group, densified
from ipex_pd.inference.diagnostics.npde import PredictionErrors
from ipex_pd.inference.diagnostics.records import Records, records_of
from ipex_pd.inference.diagnostics.scales import own_scale
from ipex_pd.inference.results import Fit

Numbers = NDArray[np.float64]

STANDARDISED = ("WRES", "CWRES", "CWRESI", "IWRES")


def population_predictions(fit: Fit, records: Records) -> Numbers:
    """[M] predictions at random effects of 0, on the data's own scale; NaN for event endpoints."""
    return own_scale(records, records.flat([table["PRED"] for table in fit.who.tables]))


def record_table(fit: Fit, records: Records, errors: PredictionErrors | None = None) -> pd.DataFrame:
    """One row a record: ID, ROW, TIME, TAD, DV, CENS, EVID, MDV, ENDPOINT, predictions, residuals, OCC, covariates.

    DV, PRED, IPRED, RES, IRES and EPRED are on the data's own scale; standardised residuals and NPDE are those of the
    fitted one. A censored record has the limit in DV and no residuals, but an NPDE.

    Args:
        fit: the fit.
        records: its records.
        errors: prediction errors; without them EPRED, EWRES, NPD and NPDE are left out.
    """
    found: dict[str, Any] = {
        "ID": records.ids,
        "ROW": records.line,
        "TIME": records.time,
        "TAD": records.time_after_dose,
        "DV": records.dv,
        "CENS": records.cens,
        "EVID": 0,
        "MDV": 0,
        "ENDPOINT": np.array(records.bound.endpoint_names, dtype=object)[records.endpoint],
        "PRED": population_predictions(fit, records),
        "IPRED": own_scale(records, records.flat([table["IPRED"] for table in fit.who.tables])),
    }
    measured = (records.cens == 0) & records.continuous
    found["RES"] = np.where(measured, records.dv - found["PRED"], np.nan)
    found["IRES"] = np.where(measured, records.dv - found["IPRED"], np.nan)
    for name in STANDARDISED:
        found[name] = records.flat([table[name] for table in fit.who.tables])
    if errors is not None:
        found |= {"EPRED": errors.epred, "EWRES": errors.ewres, "NPD": errors.npd, "NPDE": errors.npde}
    found["OCC"] = records.occasion
    return pd.DataFrame({**found, **records.covariates})


def individual_table(fit: Fit, records: Records) -> pd.DataFrame:
    """One row a subject: ID, individual values and covariates at the first row, random effects.

    Random effects of occasions that a subject does not have are NaN.
    """
    bound = records.bound
    theta, _ = fit.population.unpack(fit.w)
    etas = by_group(bound, fit.who.eta)
    names = list(bound.problem.individual)
    values = np.full((len(bound.subjects), len(names)), np.nan)
    for group, known in zip(bound.groups, bound.individual_values(theta, etas), strict=True):
        subjects = np.asarray(group.subjects)
        real = subjects >= 0
        for k, name in enumerate(names):
            first = np.broadcast_to(np.asarray(known[name])[:, :1], (len(subjects), 1))[:, 0]
            values[subjects[real], k] = first[real]
    table = pd.DataFrame({"ID": [subject.id for subject in bound.subjects]})
    table[names] = values
    shown = np.where(fit.who.present, fit.who.eta, np.nan)
    table[list(fit.population.eta_names)] = shown
    for name in bound.problem.data.covariates:
        table[name] = [float(subject.covariates[name][0]) for subject in bound.subjects]
    return table


def shrinkage_table(fit: Fit, records: Records) -> pd.DataFrame:
    """Shrinkage [%] of random effects and of the residuals of each endpoint, as SD and as variance ratios."""
    table = fit.shrinkage
    names = [n for k, n in enumerate(records.bound.endpoint_names) if not records.event[records.endpoint == k].all()]
    rows = []
    residuals = records.flat([t["IWRES"] for t in fit.who.tables])
    for name in names if len(names) > 1 else ():
        own = residuals[records.of_endpoint(name) & np.isfinite(residuals)]
        sd = float(own.std(ddof=1)) if len(own) > 1 else float("nan")
        rows.append({"name": f"eps {name}", "sd_percent": 100.0 * (1.0 - sd), "vr_percent": 100.0 * (1.0 - sd**2)})
    return pd.concat([table, pd.DataFrame(rows, columns=table.columns)], ignore_index=True) if rows else table


def curves(fit: Fit, records: Records, points: int = 60) -> pd.DataFrame:
    """Predictions between records, for drawing: subject (its number), ENDPOINT, TIME, PRED, IPRED on the data's scale.

    Args:
        fit: the fit.
        records: its records.
        points: how many times are added to those of a subject's records; none where the subject's clock starts again.
    """
    bound = records.bound
    times = []
    for subject in bound.dataset.subjects:
        backwards = bool((np.diff(subject.time) < 0).any())
        ends = (subject.time.min(), subject.time[subject.observed].max(initial=subject.time.min()))
        times.append(np.zeros(0) if backwards else np.linspace(*ends, points))
    dense = densified(bound, times)
    theta, _ = fit.population.unpack(fit.w)
    etas = by_group(dense, fit.who.eta)
    dense = dense.refined(theta, etas)
    fine = records_of(dense, {name: 0.0 for name in dense.endpoint_names})
    still = [np.zeros_like(eta) for eta in etas]
    found: dict[str, Any] = {
        "subject": fine.subject,
        "ENDPOINT": np.array(dense.endpoint_names, dtype=object)[fine.endpoint],
        "TIME": fine.time,
    }
    for name, effects in (("PRED", still), ("IPRED", etas)):
        said = [
            predict(group, jnp.broadcast_to(jnp.asarray(theta), (group.shape[0], len(theta))), jnp.asarray(eta)).mean
            for group, eta in zip(dense.groups, effects, strict=True)
        ]
        found[name] = own_scale(fine, fine.flat(said))
    return pd.DataFrame(found)[~fine.event].reset_index(drop=True)
