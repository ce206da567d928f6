"""Threads and forks: a forked process has only the thread that forked, and what others held stays held."""

from __future__ import annotations

import os
import threading
import weakref

_LONGEST_WAIT = 10.0  # seconds of a fork: a signal's handler may have raised where work begins or ends


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
        self.forking: set[int] = set()  # threads that wait for those

    def __enter__(self) -> None:
        with self.changed:
            self.threads.append(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self.changed:
            if threading.get_ident() in self.threads:  # a fork did not wait any longer
                self.threads.remove(threading.get_ident())
            self.changed.notify_all()

    def give_way(self) -> None:
        """Let forks that wait go first, for a while."""
        with self.changed:
            if self.forking and threading.get_ident() not in self.threads:
                self.changed.wait_for(lambda: not self.forking, 1.0)

    def pause(self) -> None:
        """Wait for all threads but the caller, within reason; from then on none begins."""
        own = {threading.get_ident()}
        self.changed.acquire()
        self.forking |= own
        if not self.changed.wait_for(lambda: own.issuperset(self.threads), _LONGEST_WAIT):
            self.threads = [t for t in self.threads if t in own]

    def go_on(self, in_child: bool = False) -> None:
        self.forking = set() if in_child else self.forking - {threading.get_ident()}
        self.changed.notify_all()
        self.changed.release()


COMPILING = Whole()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=COMPILING.pause, after_in_parent=COMPILING.go_on,
                        after_in_child=lambda: COMPILING.go_on(in_child=True))
    os.register_at_fork(after_in_child=_after_fork)
