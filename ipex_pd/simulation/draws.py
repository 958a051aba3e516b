"""Random numbers with an address: (seed, name, patient), so that no draw depends on what else is drawn.

A name (of a parameter or covariate) and a seed make a key of the counter-based generator Philox; patient i takes the
i-th number. More patients, fewer patients, other parameters or another order leave every number where it was.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def uniforms(seed: int, name: str, index: Index) -> Array:
    """Uniform draws strictly between 0 and 1 of the patients numbered `index`."""
    if index.size == 0:
        return np.empty(0)
    key = int.from_bytes(blake2b(f"{seed}/{name}".encode(), digest_size=16).digest(), "little")
    raw = np.random.Philox(key=key).random_raw(int(index.max()) + 1)
    # 53 bits, shifted by half a step so that neither 0 nor 1 can come
    return np.asarray(((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)[index]


def normals(seed: int, name: str, index: Index) -> Array:
    """Standard normal draws of the patients numbered `index`."""
    return np.asarray(ndtri(uniforms(seed, name, index)), dtype=np.float64)
