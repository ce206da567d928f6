"""Memory for arrays. A page is handed out when first touched, filled with zeros: 2 us for 4 KB, and most of
that is the fault, not the zeros. Large arrays lie in large pages, where the system has them.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import mmap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Form = tuple[tuple[int, ...], np.dtype[Any]]  # of an array: its shape and dtype
_LINE = 64
_LARGE_PAGE = 1 << 21
_LARGE = _LARGE_PAGE // 2  # bytes of which a large page takes less time than small ones
_LARGE_PAGES: int | None = getattr(mmap, "MADV_HUGEPAGE", None)
_BYTE = np.dtype(np.uint8)


def size_of(form: Form) -> int:
    """Of an array, in bytes."""
    shape, dtype = form
    return math.prod(shape) * dtype.itemsize


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any], alignment: int = _LINE) -> Array:
    """An uninitialised array whose data starts at a multiple of `alignment` bytes."""
    size = size_of((shape, dtype))
    if size >= _LARGE and _LARGE_PAGES is not None:
        raw, alignment = _large_pages(size, _LARGE_PAGES), _LARGE_PAGE
    else:
        raw = np.empty(size + alignment, _BYTE)
    aligned: Array = np.ndarray(shape, dtype, raw, offset=-raw.ctypes.data % alignment)
    return aligned


def _large_pages(size: int, advice: int) -> Array:
    """Memory for so many bytes from a large page's start on. An end too small for one lies in small pages.

    Raises:  MemoryError where the system has not so much
    """
    end = size % _LARGE_PAGE
    size += _LARGE_PAGE - end if end >= _LARGE else 0
    try:
        pages = mmap.mmap(-1, size + _LARGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError):
        raise MemoryError from None
    with contextlib.suppress(OSError):  # a system without large pages
        pages.madvise(advice)
    return np.frombuffer(pages, _BYTE)


def aligned_arrays(forms: Sequence[Form]) -> list[Array]:
    """Uninitialised arrays; those too small for large pages of their own lie in one piece."""
    small = iter(in_one_piece([f for f in forms if size_of(f) < _LARGE]))
    return [next(small) if size_of(f) < _LARGE else aligned_empty(*f) for f in forms]


def in_one_piece(forms: Sequence[Form], empty: Callable[..., Array] = aligned_empty) -> list[Array]:
    """Uninitialised arrays side by side, each from a cache line on, that go when the last of them goes.

    empty  makes the array of bytes that they lie in
    """
    *starts, end = itertools.accumulate((-(-size_of(f) // _LINE) * _LINE for f in forms), initial=0)
    piece = empty((end,), _BYTE)
    return [np.ndarray(*f, piece, start) for f, start in zip(forms, starts, strict=True)]
