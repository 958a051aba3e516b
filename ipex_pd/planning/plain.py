"""Records of planning as strict JSON: numbers that are not finite become None, tables become lists of rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ipex_pd.records.plain import plain


def as_json(schema: str, body: Mapping[str, Any]) -> str:
    """Strict JSON of a record under its schema."""
    return json.dumps({"schema": schema, **plain(body)}, indent=1, ensure_ascii=False, allow_nan=False)
