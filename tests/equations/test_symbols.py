"""Names mean one thing within a model, and models do not disturb each other."""

import pytest
import sympy

from ipex_pd.equations.model import Model
from ipex_pd.equations.symbols import declaration, parameter, state
from ipex_pd.errors import ModelError


def test_one_name_with_two_meanings_is_refused_within_a_model():
    amount = state("amount", "mg", "drug in the body")
    fast, slow = parameter("loss", "1/day", "loss"), parameter("loss", "1/h", "loss")
    with pytest.raises(ModelError) as error:
        Model("mixed", {amount: -fast * amount - slow * amount}, {amount: sympy.Integer(1)})
    assert error.value.message == (
        "model `mixed`: `loss` is declared twice, differently. A name means one thing, in one unit. "
        "Import the first declaration or choose another name."
    )


def test_equal_declarations_are_one_symbol_and_others_stay_apart():
    assert parameter("loss", "1/day", "loss") == parameter("loss", "1/day", "loss")
    assert parameter("loss", "1/day", "loss") - parameter("loss", "1/day", "loss") == 0
    assert parameter("loss", "1/day", "loss") != parameter("loss", "1/h", "loss")
    units = [declaration(parameter("loss", unit, "loss")).unit for unit in ("1/h", "1/day")]
    assert units == ["1/h", "1/day"]
