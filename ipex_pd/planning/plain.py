"""Records of planning as strict JSON: numbers that are not finite become None, tables become lists of rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def plain(value: Any) -> Any:
    """A value as dicts, lists, texts, numbers and None."""
    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.to_dict(orient="records")]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value


def as_json(schema: str, body: Mapping[str, Any]) -> str:
    """Strict JSON of a record under its schema."""
    return json.dumps({"schema": schema, **plain(body)}, indent=1, ensure_ascii=False, allow_nan=False)
