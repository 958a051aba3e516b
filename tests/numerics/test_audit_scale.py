"""What the audit counts an error against."""

from typing import NamedTuple

import numpy as np
import pytest

from ipex_pd.equations.ipex import ipex_model
from ipex_pd.equations.model import Model
from ipex_pd.equations.symbols import declaration, parameter, state
from ipex_pd.numerics.compiler import compile_model
from ipex_pd.numerics.levels import difference

CELLS, SCORE = state("audit_cells", "cells/uL", "cells"), state("audit_score", "SD", "a z-score")
PACE = parameter("audit_pace", "1/day", "pace")
MODEL = Model("audit", {CELLS: -PACE * CELLS, SCORE: -PACE}, {CELLS: PACE * 0 + 1, SCORE: PACE * 0 + 1})


class Solved(NamedTuple):
    x: np.ndarray
    auc: np.ndarray
    alive: np.ndarray


def solved(cells, score, area=(1.0, 1.0, 1.0), alive=True):
    return Solved(
        np.array([cells, score], float).T[:, :, None], np.array(area, float)[:, None, None], np.array([alive])
    )


COURSE = solved([2000.0, 100.0, 0.5], [1.0, 0.0, -0.2])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (solved([2000.2, 100.0, 0.5], [1.0, 0.0, -0.2]), 1e-4),
        (solved([2000.0, 100.0, 0.6], [1.0, 0.0, -0.2]), 0.05),  # a thousandth of 2000 is 2
        (solved([2000.0, 100.0, 0.5], [1.0, 1e-6, -0.2]), 1e-6),
        (solved([2000.0, 100.0, 0.5], [1.0, 0.0, -0.2 + 2e-6]), 2e-6),
        (solved([2000.0, 100.0, 0.5], [1.0, 0.0, -0.2], area=(1.0, 1.0, 1.003)), 0.003),
        (solved([2000.0, 100.0, 0.5], [1.0, 0.0, -0.2], alive=False), np.inf),
    ],
)
def test_values_count_relatively_and_scores_in_sd(other, expected):
    found = difference(other, COURSE, compile_model(MODEL).interval_scaled)
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_scores_of_the_disease_are_those_of_growth():
    scaled = [str(s) for s in ipex_model().states if declaration(s).interval_scaled]
    assert scaled == ["weight_z", "height_z"]
    assert compile_model(ipex_model()).interval_scaled.sum() == 2
