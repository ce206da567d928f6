"""Memory for arrays. A page is handed out when first touched, filled with zeros: 2 us for 4 KB, and most of
that is the fault, not the zeros. For large arrays numpy asks for large pages.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import evaluate
from graphflow.compiler.ir.types import TensorType

Array = np.ndarray[Any, Any]
Form = tuple[tuple[int, ...], np.dtype[Any]]  # of an array: its shape and dtype
_LINE = 64
_LARGE = 1 << 22  # bytes of an array
_BYTE = np.dtype(np.uint8)


def form_of(type: TensorType) -> Form:
    """Of a tensor of static shape."""
    return tuple(evaluate(d, {}) for d in type.known_dims), type.dtype.numpy


def size_of(form: Form) -> int:
    """Of an array, in bytes."""
    shape, dtype = form
    return math.prod(shape) * dtype.itemsize


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any], alignment: int = _LINE) -> Array:
    """An uninitialised array whose data starts at a multiple of `alignment` bytes."""
    raw = np.empty(size_of((shape, dtype)) + alignment, _BYTE)
    aligned: Array = np.ndarray(shape, dtype, raw, offset=-raw.ctypes.data % alignment)
    return aligned


def aligned_arrays(forms: Sequence[Form]) -> list[Array]:
    """Uninitialised arrays; large ones may each lie where others were, the small ones lie in one piece."""
    small = iter(in_one_piece([f for f in forms if size_of(f) < _LARGE]))
    return [next(small) if size_of(f) < _LARGE else aligned_empty(*f) for f in forms]


def in_one_piece(forms: Sequence[Form], empty: Callable[..., Array] = aligned_empty) -> list[Array]:
    """Uninitialised arrays side by side, each from a cache line on, that go when the last of them goes.

    empty  makes the array of bytes that they lie in
    """
    *starts, end = itertools.accumulate((-(-size_of(f) // _LINE) * _LINE for f in forms), initial=0)
    piece = empty((end,), _BYTE)
    return [np.ndarray(*f, piece, start) for f, start in zip(forms, starts, strict=True)]
