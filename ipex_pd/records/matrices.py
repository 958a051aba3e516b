"""Symmetric matrices written as lower triangles, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from ipex_pd.records.record import Number, fault

Rows = tuple[tuple[float, ...], ...]


def _triangle(rows: Any) -> Any:
    for place, row in enumerate(rows):
        if len(row) != place + 1:
            raise fault(
                f"row {place + 1} has {len(row)} numbers",
                rule="A covariance is written as its lower triangle: one number in row 1, two in row 2, ...",
                cure="Write for example `[[0.1], [0.01, 0.2]]`",
                at=(place,),
            )
    return rows


Triangle = Annotated[tuple[tuple[Number, ...], ...], AfterValidator(_triangle)]
"""The lower triangle of a symmetric matrix."""


def full_matrix(rows: Rows) -> NDArray[np.float64]:
    """The symmetric matrix [d, d] of a lower triangle."""
    size = len(rows)
    matrix = np.zeros((size, size))
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            matrix[i, j] = matrix[j, i] = value
    return matrix


def lower_triangle(matrix: NDArray[np.float64]) -> Rows:
    """The inverse of `full_matrix`."""
    return tuple(tuple(float(value) for value in row[: i + 1]) for i, row in enumerate(matrix))


def is_positive_definite(rows: Rows) -> bool:
    """Whether all eigenvalues are positive, by a Cholesky factor that is not at the edge of rounding."""
    matrix = full_matrix(rows)
    diagonal = np.diag(matrix)
    if not np.all(diagonal > 0):
        return False
    spread = np.sqrt(diagonal)
    eigenvalues = np.linalg.eigvalsh(matrix / np.outer(spread, spread))
    return bool(eigenvalues[0] > 1e-12)


def from_correlations(sds: Sequence[float], correlations: Rows) -> Rows:
    """The covariance of standard deviations [d] and correlations (lower triangle, ones on the diagonal)."""
    return tuple(tuple(value * sds[i] * sds[j] for j, value in enumerate(row)) for i, row in enumerate(correlations))
