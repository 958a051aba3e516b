"""A fit rebuilt from its JSON is the fit; settings of one method are refused by the others, and survive JSON."""

import json

import numpy as np
import pytest

import ipex_pd as ipx
from ipex_pd.errors import UsageError
from ipex_pd.inference.imp import ImpOptions
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.recall import recall
from ipex_pd.inference.saem import SaemOptions
from ipex_pd.inference.settings import options_from, plain_options, settings_for, settings_from_text


def test_a_recalled_fit_is_the_fit():
    problem = ipx.load_problem("synthetic_decay")
    fit = ipx.fit(problem, "focei", FitOptions(restarts=0))
    again = recall(problem, json.loads(fit.to_json()))
    assert again.value == pytest.approx(fit.value, abs=1e-9)
    assert np.allclose(again.covariance.matrix, fit.covariance.matrix, rtol=1e-4)
    assert np.allclose(again.etas.iloc[:, 1:], fit.etas.iloc[:, 1:], atol=1e-9)
    assert str(again.verdict) == str(fit.verdict)


def test_results_that_cannot_be_recalled_are_refused():
    problem = ipx.load_problem("synthetic_decay")
    with pytest.raises(UsageError, match="a result of `nuts` cannot be checked this way"):
        recall(problem, {"method": "nuts"})
    told = {"method": "focei", "options": plain_options(FitOptions()), "search": [0.0]}
    with pytest.raises(UsageError, match="1 values were kept, the problem has 4"):
        recall(problem, told)


def test_settings_are_read_from_text_and_from_json():
    settings = settings_from_text("saem", {"explore": "200", "moves.block": "3", "importance.samples": "500"}, 7)
    assert isinstance(settings, SaemOptions)
    assert (settings.explore, settings.moves.block, settings.importance.samples, settings.seed) == (200, 3, 500, 7)
    options = FitOptions(seed=7, settings=settings)
    assert options_from("saem", json.loads(json.dumps(plain_options(options)))) == options
    default = settings_for("imp", FitOptions(seed=9))
    assert isinstance(default, ImpOptions)
    assert default.importance.seed == 9


def test_settings_of_another_method_are_refused():
    with pytest.raises(UsageError, match="`SaemOptions` are not the settings of `imp`"):
        settings_for("imp", FitOptions(settings=SaemOptions()))
    with pytest.raises(UsageError, match="`focei` has no option `settings`"):
        FitOptions(settings=SaemOptions()).require_for("focei")
    with pytest.raises(UsageError, match=r"`saem` has no option `explor`.*explore"):
        settings_from_text("saem", {"explor": "200"}, 1)
    with pytest.raises(UsageError, match="`--seed`"):
        settings_from_text("saem", {"seed": "2"}, 1)
    with pytest.raises(UsageError, match="`many` is not a whole number"):
        settings_from_text("imp", {"iterations": "many"}, 1)
