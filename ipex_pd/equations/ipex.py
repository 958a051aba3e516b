"""IPEX under treatment, composed on one screen.

genotype -> host Treg cells (number x function) -> suppression of effector T cells -> Th2, B lineage, organ injury
transplant -> donor stem cells -> donor Treg cells;   drugs -> effects -> activation, survival, B cells, inflammation
organ injury -> growth, organ-involvement score -> hazards -> survival
"""

from __future__ import annotations

from functools import lru_cache

from ipex_pd.equations.hazards import hazards
from ipex_pd.equations.immunity import immunity
from ipex_pd.equations.model import Model, compose
from ipex_pd.equations.organs import organs
from ipex_pd.equations.pharmacodynamics import pharmacodynamics
from ipex_pd.equations.transplant import transplant


@lru_cache(maxsize=1)
def ipex_model() -> Model:
    """The composed disease model; built once."""
    return compose("ipex", pharmacodynamics(), transplant(), immunity(), organs(), hazards())
