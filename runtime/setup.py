"""Setup: what a program computes once and holds between runs, such as the packed weights of its products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphflow.runtime.locks import Locked
from graphflow.runtime.pages import aligned_empty

if TYPE_CHECKING:
    from graphflow.runtime.plan import Plan

Array = np.ndarray[Any, Any]
_ALIGNMENT = 64


class Setup(Locked):
    """The results of a program without feeds, computed again after a variable they come from was written.

    `version` is another object whenever the results or the addresses of variables may have changed. Whatever
    writes a variable calls `outdate` when it has written; so a run compares one reference, however many
    variables there are, and one that starts after a write sees what was written.
    """

    __slots__ = ("_made", "_written", "plan", "reads", "version")

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.reads = frozenset(plan.program.reads)
        self.version = object()
        self._written = object()
        self._made: tuple[object, tuple[Array, ...]] = None, ()  # for what was written: the results
        plan.store.watch(self)  # before a variable is read: from now on each write is told

    def values(self) -> tuple[Array, ...]:
        """The results as of now, complete, whatever other threads do."""
        with self.lock:
            written = self._written
            made_for, results = self._made
            if made_for is not written:
                results = tuple(map(_aligned, self.plan.run(())))
                self._made = written, results
            return results

    def outdate(self) -> None:
        """Note that a variable was written."""
        self._written = object()
        self.version = object()


def _aligned(value: Any) -> Array:
    """As an array that starts at a cache line: large ones do."""
    array = np.asarray(value)
    if array.ctypes.data % _ALIGNMENT == 0:
        return array
    result = aligned_empty(array.shape, array.dtype)
    result[...] = array
    return result
