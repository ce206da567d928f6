"""Locks that a forked process finds free: the thread that held one when it was forked is not in it."""

from __future__ import annotations

import os
import threading
import weakref


class Locked:
    """Has a lock; a thread that holds it may take it again, as a signal's handler does."""

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        _LOCKED.add(self)


_LOCKED: weakref.WeakSet[Locked] = weakref.WeakSet()


def _after_fork() -> None:
    for each in _LOCKED:
        each.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
