"""Plain data hold what strict JSON can."""

import json
import math
from pathlib import Path

import numpy as np

from ipex_pd.records.plain import plain


def test_values_of_every_kind():
    given = {
        1: np.float64(2.5),
        "array": np.array([[1.0, math.nan], [math.inf, -2.0]]),
        "flags": (np.bool_(True), False, None),
        "count": np.int64(3),
        "place": Path("a") / "b",
    }
    told = plain(given)
    assert told == {
        "1": 2.5,
        "array": [[1.0, None], [None, -2.0]],
        "flags": [True, False, None],
        "count": 3,
        "place": str(Path("a") / "b"),
    }
    assert json.loads(json.dumps(told, allow_nan=False)) == told
