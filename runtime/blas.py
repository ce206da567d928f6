"""The matrix product that programs call: numpy's own OpenBLAS, else a plain loop compiled by numba."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.runtime.locks import Locked

Run = Callable[[Sequence[Any]], list[Any]]
_PREFIXES = ("scipy_cblas_{}gemm64_", "cblas_{}gemm64_")


@functools.lru_cache(maxsize=1)
def gemm_addresses() -> tuple[int, int]:
    """Addresses of f32 and f64 routines with the signature of cblas_?gemm and 64-bit integers."""
    library = _openblas()
    if library is not None:
        return _address(library, _gemm(library, "s")), _address(library, _gemm(library, "d"))
    return _compiled_gemm("float32"), _compiled_gemm("float64")


def limited(run: Run, threads: int) -> Run:
    """The run with matrix products on at most so many threads.

    The library has one setting for the whole process, and it is the user's: of runs that overlap the first
    saves it, the last puts it back.
    """
    setting = _thread_setting()
    if setting is None:
        return run
    get, put = setting

    def call(arrays: Sequence[Any]) -> list[Any]:
        this = object()
        try:
            _LIMIT.enter(this, get, put, threads)
            return run(arrays)
        finally:
            _LIMIT.leave(this, put)

    return call


class _Limit(Locked):
    """The limited runs that are under way in this process, and the setting from before them.

    A signal's handler may come, run and raise between any two steps: it finds the setting limited or saved.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runs: set[object] = set()
        self.saved: int | None = None

    def enter(self, run: object, get: Callable[[], int], put: Callable[[int], None], threads: int) -> None:
        with self.lock:
            self.runs.add(run)
            setting = get()
            if self.saved is None:
                self.saved = setting
                put(min(setting, threads))

    def leave(self, run: object, put: Callable[[int], None]) -> None:
        with self.lock:
            self.runs.discard(run)
            saved = self.saved
            if not self.runs and saved is not None:
                put(saved)
                self.saved = None

    def forked(self) -> None:
        """In a child process: the threads that were in limited runs are not here."""
        setting = None if self.saved is None else _thread_setting()
        if setting is not None and self.saved is not None:
            setting[1](self.saved)
        self.runs, self.saved = set(), None


_LIMIT = _Limit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LIMIT.forked)


@functools.lru_cache(maxsize=1)
def _thread_setting() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """The library's functions that get and set how many threads it uses."""
    library = _openblas()
    for p in ("scipy_", ""):
        get, put = f"{p}openblas_get_num_threads64_", f"{p}openblas_set_num_threads64_"
        if hasattr(library, get) and hasattr(library, put):
            return getattr(library, get), getattr(library, put)
    return None


@functools.lru_cache(maxsize=1)
def _openblas() -> Any:
    folder = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        if "openblas64" not in name:
            continue
        try:
            library = ctypes.CDLL(os.path.join(folder, name))
        except OSError:
            continue
        if _gemm(library, "s") and _gemm(library, "d"):
            return library
    return None


def _gemm(library: Any, kind: str) -> str:
    """The library's name of ?gemm; empty if it has none."""
    return next((p.format(kind) for p in _PREFIXES if hasattr(library, p.format(kind))), "")


def _address(library: Any, name: str) -> int:
    address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
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
