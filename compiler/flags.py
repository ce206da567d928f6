"""The environment switches, read at each use so that a test or a notebook can change them."""

from __future__ import annotations

import os

_ON, _OFF = ("1", "on", "true", "yes"), ("0", "off", "false", "no")


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
    return _one_of("GRAPHFLOW_JIT", ("", "numba", *_ON, *_OFF)) not in _OFF


def use_numba() -> bool:
    """`GRAPHFLOW_JIT=numba`: numba's code generator and linker make all native code."""
    return os.environ.get("GRAPHFLOW_JIT", "").lower() == "numba"


def cache_folder() -> str:
    """`GRAPHFLOW_CACHE`: the folder of compiled programs; "" for the user's cache folder, "0" for none."""
    return os.environ.get("GRAPHFLOW_CACHE", "")


def use_winograd() -> bool:
    """`GRAPHFLOW_WINOGRAD=0` computes convolutions as direct sums of products."""
    return _is_on("GRAPHFLOW_WINOGRAD", True)


def use_bands() -> bool:
    """`GRAPHFLOW_BANDS=0` runs each kernel over all of its rows before the next one begins."""
    return _is_on("GRAPHFLOW_BANDS", True)


def use_blas() -> bool:
    """`GRAPHFLOW_GEMM=blas` computes matrix products by numpy's OpenBLAS instead of generated code."""
    return _one_of("GRAPHFLOW_GEMM", ("", "blas")) == "blas"


def tune_products() -> bool:
    """`GRAPHFLOW_TUNE=1` measures a few ways to compute each matrix product when it is first compiled."""
    return _is_on("GRAPHFLOW_TUNE", False)


def _is_on(name: str, default: bool) -> bool:
    text = _one_of(name, ("", *_ON, *_OFF))
    return text in _ON if text else default


def _one_of(name: str, known: tuple[str, ...]) -> str:
    text = os.environ.get(name, "").lower()
    if text not in known:
        raise ValueError(f"{name} is one of {', '.join(map(repr, known))}, not {text!r}")
    return text
