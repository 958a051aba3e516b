"""Units through the equations."""

import pytest
import sympy

from ipex_pd.equations.dimensions import in_words, misfits, of_unit, require_dimensions
from ipex_pd.equations.ipex import ipex_model
from ipex_pd.equations.model import Model
from ipex_pd.equations.states import ige, treg_donor
from ipex_pd.equations.symbols import parameter
from ipex_pd.errors import ModelError


def changed(**rates):
    model = ipex_model()
    broken = {state: rates.get(str(state), rate) for state, rate in model.rates.items()}
    return Model("broken", broken, model.initial, model.effects, model.outputs, model.maps)


def test_every_equation_fits():
    assert misfits(ipex_model()) == []
    require_dimensions(ipex_model())


def test_a_rate_without_its_rate_constant_is_caught():
    (misfit,) = misfits(changed(ige=-ige))
    assert misfit.where == "rate of `ige`"
    assert misfit.found == in_words(of_unit("IU/mL"))
    assert misfit.expected == in_words(of_unit("IU/mL/day"))


def test_a_sum_of_unlike_things_is_caught():
    loss = parameter("ige_loss", "1/day", "elimination of IgE", r"d_I")
    (misfit,) = misfits(changed(ige=loss * (treg_donor - ige)))
    assert misfit.where == "rate of `ige`"
    assert misfit.found != misfit.expected


def test_an_exponential_of_a_unit_is_caught():
    loss = parameter("ige_loss", "1/day", "elimination of IgE", r"d_I")
    (misfit,) = misfits(changed(ige=loss * ige * sympy.exp(ige)))
    assert (misfit.part, misfit.expected) == ("ige", "a pure number")


def test_a_clock_that_is_not_the_day_is_caught():
    hourly = parameter("loss_per_hour_for_test", "1/hour", "a rate in the wrong clock")
    (misfit,) = misfits(changed(ige=-hourly * ige))
    assert misfit.in_words() == "name `loss_per_hour_for_test`: `hour` is its time unit, not the day"


def test_refusal_says_where_and_how_many():
    with pytest.raises(ModelError) as caught:
        require_dimensions(changed(ige=-ige, th2=sympy.Integer(1)))
    assert "rate of `th2`: `1` is a pure number" in str(caught.value)
    assert "(1 more)" in str(caught.value)
    assert caught.value.cure == "Correct the equation, or the unit of the name that stands in it"
