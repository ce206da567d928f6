"""Threads and forks: a forked process has only the thread that forked, and what others held stays held."""

from __future__ import annotations

import os
import threading
import weakref


class Locked:
    """Has a lock, which a forked process finds free; a thread that holds it may take it again, as a signal's
    handler does.
    """

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        _LOCKED.add(self)


_LOCKED: weakref.WeakSet[Locked] = weakref.WeakSet()


def _after_fork() -> None:
    for each in _LOCKED:
        each.lock = threading.RLock()


class Whole:
    """Work that others' forks wait for, as it takes locks that are not ours: Python's, of modules that are
    imported and properties that are cached, and LLVM's.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.threads: list[int] = []  # that are at it

    def __enter__(self) -> None:
        with self.changed:
            self.threads.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self.threads.remove(threading.get_ident())
            self.changed.notify_all()

    def pause(self) -> None:
        """Let no thread begin, and wait for all but the caller."""
        self.changed.acquire()
        while set(self.threads) - {threading.get_ident()}:
            self.changed.wait()

    def go_on(self) -> None:
        self.changed.release()


COMPILING = Whole()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=COMPILING.pause, after_in_parent=COMPILING.go_on,
                        after_in_child=COMPILING.go_on)
    os.register_at_fork(after_in_child=_after_fork)
