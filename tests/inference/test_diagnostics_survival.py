"""Times to an event: Kaplan-Meier against a published table, simulated times against the model's own distribution."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from checked_problems import problem
from scipy import stats

from ipex_pd.errors import UsageError
from ipex_pd.inference.binding import bind
from ipex_pd.inference.diagnostics.records import records_of
from ipex_pd.inference.diagnostics.survival import first_events, kaplan_meier, simulated_events, survival_check

WEIBULL = {
    "model": "event_weibull",
    "parameters": {"tvscale": {"start": 10, "lower": 0}, "event_shape": {"start": 2, "lower": 0}},
    "random_effects": {"between_subject": {"eta": {"variance": 0.2}}},
    "individual": {"event_scale": {"typical": "tvscale", "random": "eta"}},
    "endpoints": {"relapse": {"kind": "event", "hazard": "hazard", "cumulative_hazard": "cumulative_hazard"}},
}


def weibull(folder, table, variance=0.2):
    random = {"between_subject": {"eta": {"variance": variance, "fixed": True}}}
    return bind(problem(folder, table, **{**WEIBULL, "random_effects": random}))


def visits(count, times, horizon=12.0):
    """One record a subject: its event, or the end of follow-up."""
    return pd.DataFrame(
        {"ID": np.arange(count) + 1, "TIME": np.minimum(times, horizon), "DV": (times < horizon).astype(float)}
    )


def test_kaplan_meier_of_the_leukaemia_trial():
    """Weeks in remission under 6-mercaptopurine; E. J. Freireich et al., Blood 21 (1963) 699."""
    weeks = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35], float)
    happened = np.isin(np.arange(21), [0, 1, 2, 4, 6, 9, 10, 14, 15])
    at = np.array([0.0, 5.9, 6.0, 7.0, 10.0, 13.0, 16.0, 22.0, 23.0, 35.0, 36.0])
    wanted = [1.0, 1.0, 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448, 0.448, np.nan]
    np.testing.assert_allclose(kaplan_meier(weeks, happened, at), wanted, atol=5e-4)


def test_simulated_times_follow_the_models_distribution(tmp_path):
    count = 300
    bound = weibull(tmp_path, visits(count, np.full(count, 20.0)), 1e-12)
    records = records_of(bound)
    events = first_events(records, "relapse")
    times, happened = simulated_events(records, bound.population.start, events, "relapse", 5, 1)
    model = stats.weibull_min(2.0, scale=10.0)
    share = model.cdf(12.0)
    assert happened.mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / happened.size))
    np.testing.assert_array_equal(times[~happened], 12.0)
    assert stats.kstest(times[happened], lambda t: model.cdf(t) / share).pvalue > 0.01
    again, _ = simulated_events(records, bound.population.start, events, "relapse", 2, 1)
    np.testing.assert_array_equal(again, times[:2])


def test_the_band_holds_the_truth_and_not_a_wrong_model(tmp_path):
    random = np.random.default_rng(8)
    scale = 10.0 * np.exp(np.sqrt(0.2) * random.standard_normal(150))
    bound = weibull(tmp_path, visits(150, scale * random.weibull(2.0, 150)))
    records = records_of(bound)
    start, omega = bound.population.unpack(bound.population.start)

    def outside(theta):
        check = survival_check(records, bound.population.pack(theta, omega), count=150, seed=3)
        table = check.table[check.table.time < 12.0]
        assert check.subjects.subjects.tolist() == [150]
        return ((table.observed < table.low) | (table.observed > table.high)).mean()

    assert outside(start) < 0.1
    assert outside(np.array([16.0, 2.0])) > 0.5


def test_what_kaplan_meier_cannot_tell_is_refused(tmp_path):
    table = visits(4, np.array([3.0, 5.0, 20.0, 20.0]))
    table["CENS"] = [1, 0, 0, 0]
    records = records_of(weibull(tmp_path, table))
    with pytest.raises(UsageError) as told:
        first_events(records, "relapse")
    assert told.value.message == (
        "events of `relapse` are known between two times only. Kaplan-Meier curves need times of events. "
        "Look at the likelihood instead, or give the data times."
    )
    with pytest.raises(UsageError, match="`relaps` is not an endpoint"):
        first_events(records, "relaps")
