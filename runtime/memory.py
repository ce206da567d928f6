"""Memory for results: a large array that a caller lets go of serves a later run, its pages already in place.

Fresh pages cost more than most kernels: the system hands them out one by one, each filled with zeros.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from graphflow.compiler import flags
from graphflow.runtime.locks import Locked
from graphflow.runtime.pages import Array, Form, aligned_empty, in_one_piece
from graphflow.runtime.threads import shared_pool

RECYCLED_FROM = 1 << 18        # bytes: below, the allocator reuses pages by itself
MOST_FREE = 1 << 28            # bytes kept for later runs
_PAGE = 4096
_BYTE = np.dtype(np.uint8)
_WORTH_A_THREAD = 1 << 23      # bytes: their pages take some ms, and a thread's start a tenth of one


@functools.lru_cache(maxsize=64)
def _lease_of(size: int) -> Any:
    """The type of what holds a block while any array looks into it: numpy keeps it as their `base`.

    A ctypes array, because numpy would go past a base that is an array of its own to that one's base.
    """
    class Lease(ctypes.c_char * size):  # type: ignore[misc]
        block: Array

        def __del__(self) -> None:
            _blocks.give_back(self.block)

    return Lease


class _Blocks(Locked):
    """Blocks of whole pages that nobody uses, by size; when they are too many the longest unused goes.

    A collection may end a lease while the lock is held.
    """

    def __init__(self) -> None:
        super().__init__()
        self._free: OrderedDict[int, list[Array]] = OrderedDict()
        self._bytes = 0

    def take(self, size: int) -> Array:
        with self.lock:
            blocks = self._free.get(size)
            if blocks:
                self._bytes -= size
                return blocks.pop()
        return aligned_empty((size,), _BYTE)

    def give_back(self, block: Array) -> None:
        size = block.size
        if size > MOST_FREE:
            return
        with self.lock:
            self._free.setdefault(size, []).append(block)
            self._free.move_to_end(size)
            self._bytes += size
            while self._bytes > MOST_FREE:
                oldest, blocks = next(iter(self._free.items()))
                if blocks:
                    blocks.pop()
                    self._bytes -= oldest
                else:
                    self._free.pop(oldest, None)


_blocks = _Blocks()


def is_large(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    return math.prod(shape) * dtype.itemsize >= RECYCLED_FROM


def result_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of the caller's own, without values."""
    if not is_large(shape, dtype):
        return np.empty(shape, dtype)
    pages = -(-math.prod(shape) * dtype.itemsize // _PAGE) * _PAGE
    block = _blocks.take(pages)
    lease = _lease_of(pages).from_address(block.ctypes.data)
    lease.block = block
    result: Array = np.ndarray(shape, dtype, lease)
    return result


def result_arrays(forms: Sequence[Form]) -> list[Array]:
    """Such arrays, each of which a caller may keep or let go of."""
    return [result_array(shape, dtype) for shape, dtype in forms]


class Room:
    """Memory for results whose user lets go of all at once, in one piece; the first is there already.

    forms  of the results
    """

    def __init__(self, forms: Sequence[Form], threads: int) -> None:
        self._ready: list[Array] = []
        with suppress(MemoryError):  # the run will say so
            self._ready = in_one_piece(forms, result_array)
            bring_in(self._ready, threads)

    def __call__(self, forms: Sequence[Form]) -> list[Array]:
        ready, self._ready = self._ready, []
        return ready or in_one_piece(forms, result_array)


class Arenas:
    """Memory to compute in: a run takes an arena, which the next one gets, whatever shapes it is for.

    Runs under way at the same time have arenas of their own. Whoever takes one out of `free` may use it.
    """

    def __init__(self) -> None:
        self.free: dict[int, Array] = {}  # by number
        self._numbers = itertools.count(1)

    def another(self, size: int) -> tuple[int, Array]:
        """A free arena of so many bytes, or a new one, in place of free ones that are smaller."""
        while self.free:
            with suppress(KeyError):  # another thread may have taken it
                number, arena = self.free.popitem()
                if arena.size >= size:
                    return number, arena
        return next(self._numbers), aligned_empty((size,), _BYTE)


def bring_in(arrays: Sequence[Array], threads: int) -> None:
    """Have the pages of arrays brought in while the caller goes on, if that is worth a thread.

    threads  how many the caller may use
    """
    if threads > 1 and sum(a.nbytes for a in arrays) >= _WORTH_A_THREAD and flags.use_jit():
        shared_pool().bring_in(arrays)
