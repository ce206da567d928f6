"""The matrix product that programs call: numpy's own OpenBLAS, else a plain loop compiled by numba."""

from __future__ import annotations

import ctypes
import functools
import glob
import os
from typing import Any

import numpy as np

from graphflow.compiler.codegen.gemm_limit import (
    GET,
    LIMITED,
    SET,
    STATE,
    STATE_WORDS,
    gemm_limit_ir,
    routine_name,
)

_PREFIXES = ("scipy_cblas_{}gemm64_", "cblas_{}gemm64_")


@functools.lru_cache(maxsize=64)
def gemm_addresses(threads: int = 0) -> tuple[int, int]:
    """Addresses of f32 and f64 routines with the signature of cblas_?gemm and 64-bit integers.

    They use at most so many threads (0: as many as the library is set to), and leave its setting as it was.
    """
    library = _openblas()
    if library is None:
        return _compiled_gemm("float32"), _compiled_gemm("float64")
    setting = _thread_functions(library)
    if not threads or setting is None:
        return _address(library, _gemm(library, "s")), _address(library, _gemm(library, "d"))
    return _limited_gemm(library, setting, threads)


def _limited_gemm(library: Any, setting: tuple[str, str], threads: int) -> tuple[int, int]:
    from llvmlite import binding

    from graphflow.runtime.jit import function_addresses

    for name, address in ((GET, _address(library, setting[0])), (SET, _address(library, setting[1])),
                          (STATE, ctypes.addressof(_STATE)),
                          (routine_name("float"), _address(library, _gemm(library, "s"))),
                          (routine_name("double"), _address(library, _gemm(library, "d")))):
        binding.add_symbol(name, address)
    single, double = function_addresses(gemm_limit_ir(threads), LIMITED)
    return single, double


@functools.lru_cache(maxsize=1)
def _openblas() -> Any:
    folder = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    for path in sorted(glob.glob(os.path.join(folder, "*openblas64*"))):
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        if _gemm(library, "s") and _gemm(library, "d"):
            return library
    return None


def _gemm(library: Any, kind: str) -> str:
    """The library's name of ?gemm; empty if it has none."""
    return next((p.format(kind) for p in _PREFIXES if hasattr(library, p.format(kind))), "")


def _thread_functions(library: Any) -> tuple[str, str] | None:
    """The names of the functions that get and set how many threads it uses."""
    pairs = ((f"{p}openblas_get_num_threads64_", f"{p}openblas_set_num_threads64_") for p in ("scipy_", ""))
    return next((p for p in pairs if all(hasattr(library, name) for name in p)), None)


def _address(library: Any, name: str) -> int:
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    assert address is not None
    return address


_STATE = (ctypes.c_int32 * STATE_WORDS)()


def _after_fork() -> None:
    """Other threads may have been in a limited product when this process was forked: none is now."""
    _, users, saved = _STATE
    _STATE[:] = [0] * STATE_WORDS
    library = _openblas() if users else None
    setting = _thread_functions(library)
    if setting is not None:
        getattr(library, setting[1])(saved)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


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
