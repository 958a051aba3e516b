"""Estimation: problems bound to data, objectives, fits."""

from __future__ import annotations
