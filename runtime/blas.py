"""The matrix product that programs call: numpy's own OpenBLAS, else a plain loop compiled by numba."""

from __future__ import annotations

import ctypes
import functools
import glob
import os
from typing import Any

import numpy as np

_PREFIXES = ("scipy_cblas_{}gemm64_", "cblas_{}gemm64_")


@functools.lru_cache(maxsize=1)
def gemm_addresses() -> tuple[int, int]:
    """Addresses of f32 and f64 routines with the signature of cblas_?gemm and 64-bit integers."""
    library = _openblas()
    if library is not None:
        return _address(library, "s"), _address(library, "d")
    return _compiled_gemm("float32"), _compiled_gemm("float64")


@functools.lru_cache(maxsize=1)
def _openblas() -> Any:
    folder = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    for path in sorted(glob.glob(os.path.join(folder, "*openblas64*"))):
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        if _symbol(library, "s") and _symbol(library, "d"):
            return library
    return None


def _symbol(library: Any, kind: str) -> str | None:
    return next((p.format(kind) for p in _PREFIXES if hasattr(library, p.format(kind))), None)


def _address(library: Any, kind: str) -> int:
    address = ctypes.cast(getattr(library, _symbol(library, kind) or ""), ctypes.c_void_p).value
    assert address is not None
    return address


_COMPILED: list[Any] = []  # the callbacks must outlive every program


def _compiled_gemm(dtype: str) -> int:
    from numba import carray, cfunc, types  # type: ignore[attr-defined]  # carray is public, if not to mypy

    t = types.float32 if dtype == "float32" else types.float64
    i4, i8, p = types.int32, types.int64, types.CPointer(t)

    def gemm(order: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Any, lda: Any,
             b: Any, ldb: Any, beta: Any, c: Any, ldc: Any) -> None:
        x, y, out = carray(a, (m * k,)), carray(b, (k * n,)), carray(c, (m * n,))
        for i in range(m):
            for j in range(n):
                out[i * ldc + j] = 0
            for q in range(k):
                s = x[q * lda + i] if ta == 112 else x[i * lda + q]
                for j in range(n):
                    out[i * ldc + j] += s * (y[j * ldb + q] if tb == 112 else y[q * ldb + j])

    compiled = cfunc(types.void(i4, i4, i4, i8, i8, i8, t, p, i8, p, i8, t, p, i8))(gemm)
    _COMPILED.append(compiled)
    address = compiled.address
    assert address is not None
    return address
