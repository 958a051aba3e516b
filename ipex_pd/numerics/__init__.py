"""How it is computed: JAX in float64, patients as the fast axis."""

from __future__ import annotations

import os
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)


def cache_directory() -> Path:
    """Where compiled programs are kept between runs; `IPEX_PD_CACHE` moves it."""
    root = os.environ.get("IPEX_PD_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "ipex_pd"
    )
    return Path(root) / "xla"


jax.config.update("jax_compilation_cache_dir", str(cache_directory()))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
