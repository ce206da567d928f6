"""The environment switches, read at each use so that a test or a notebook can change them."""

from __future__ import annotations

import os


def debug_level() -> int:
    """`GRAPHFLOW_DEBUG`: 1 times, 2 + kernels, 3 + graph after each pass, 4 + loop nests, 5 + native code."""
    text = os.environ.get("GRAPHFLOW_DEBUG", "") or "0"
    if not text.isdigit():
        raise ValueError(f"GRAPHFLOW_DEBUG is a number from 0 to 5, not {text!r}")
    return int(text)


def check_passes() -> bool:
    """`GRAPHFLOW_CHECK=1`: run the oracle after each graph pass and name the first that changes a result."""
    return _is_on("GRAPHFLOW_CHECK", False)


def use_jit() -> bool:
    """`GRAPHFLOW_JIT=0` runs the loop nests in plain Python instead of native code."""
    return _is_on("GRAPHFLOW_JIT", True)


def use_numba() -> bool:
    """`GRAPHFLOW_JIT=numba`: numba's code generator and linker make all native code."""
    return os.environ.get("GRAPHFLOW_JIT", "").lower() == "numba"


def cache_folder() -> str:
    """`GRAPHFLOW_CACHE`: the folder of compiled programs; "" for the user's cache folder, "0" for none."""
    return os.environ.get("GRAPHFLOW_CACHE", "")


def use_blas() -> bool:
    """`GRAPHFLOW_GEMM=blas` computes matrix products by numpy's OpenBLAS instead of generated code."""
    return os.environ.get("GRAPHFLOW_GEMM", "").lower() == "blas"


def _is_on(name: str, default: bool) -> bool:
    text = os.environ.get(name, "").lower()
    return default if not text else text not in ("0", "off", "false", "no")
