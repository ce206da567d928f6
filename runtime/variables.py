"""VariableStore: the values of a session's variables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from graphflow.compiler.errors import FailedPreconditionError, InvalidArgumentError
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.runtime.locks import Locked
from graphflow.runtime.pages import Array, Form, aligned_arrays, form_of

if TYPE_CHECKING:
    from graphflow.runtime.setup import Setup

Run = Callable[[Sequence[Array]], list[Any]]


class VariableStore(Locked):
    """Variable -> array. The lock is for runs that change variables and are to do so one at a time.

    `version` is another object whenever an array is made or replaced, never when one is written into;
    programs keep addresses for as long as it stays. What is made of variables is told of writes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.version = object()
        self._setups: list[Setup] = []
        self._arrays: dict[VariableHandle, Array] = {}
        self._ready: set[VariableHandle] = set()

    def array(self, variable: VariableHandle) -> Array:
        """The memory of a variable, made now if need be; not yet initialised then."""
        if variable not in self._arrays:
            self.hold((variable,))
        return self._arrays[variable]

    def hold(self, variables: Iterable[VariableHandle]) -> list[Array]:
        """Make the memory of these variables now, where they lack it; gives what was made."""
        new = [v for v in dict.fromkeys(variables) if v not in self._arrays]
        made = aligned_arrays([_form(v) for v in new])
        for v, array in zip(new, made, strict=True):
            self._arrays.setdefault(v, array)  # another thread may have been faster
        if new:
            self._changed()
        return made

    def _changed(self) -> None:
        self.version = object()
        for s in tuple(self._setups):
            s.version = object()

    def watch(self, setup: Setup) -> None:
        """Tell a setup of writes to what it reads; programs that write ask again whom to tell."""
        self._setups.append(setup)
        self._changed()

    def watching(self, variables: Sequence[VariableHandle]) -> tuple[Setup, ...]:
        """The setups to tell when these variables are written."""
        return tuple(s for s in tuple(self._setups) if not s.reads.isdisjoint(variables))

    def require(self, variable: VariableHandle) -> None:
        """FailedPreconditionError unless the variable has a value."""
        if variable not in self._ready:
            raise FailedPreconditionError(
                None, None, f"attempting to use the uninitialized variable {variable.name!r} "
                            f"({variable.type})\n"
                            f"hint: run tf.global_variables_initializer() first, in this session")

    def mark_initialized(self, variable: VariableHandle) -> None:
        if variable not in self._ready:
            self._ready.add(variable)
            self._changed()

    def is_initialized(self, variable: VariableHandle) -> bool:
        return variable in self._ready

    def alone(self, run: Run) -> Run:
        """The run as one of those of which one is under way at a time."""
        def call(arrays: Sequence[Array]) -> list[Any]:
            with self.lock:
                return run(arrays)

        return call

    def read(self, variable: VariableHandle) -> Array:
        """A copy of the value."""
        self.require(variable)
        return np.array(self._arrays[variable])

    def write(self, variable: VariableHandle, value: Any) -> None:
        """Set the value, converted to the variable's dtype; InvalidArgumentError if its shape is another."""
        array = np.asarray(value, dtype=variable.type.dtype.numpy)
        target = self.array(variable)
        if array.shape != target.shape:
            raise InvalidArgumentError(None, None, f"variable {variable.name!r} is {variable.type}, "
                                                   f"but the value's shape is {array.shape}")
        self._outdate(variable)  # already now: a signal's handler may raise on the way to the second time
        try:
            with self.lock:
                np.copyto(target, array)  # all of it, and only then what a signal's handler raises comes out
        finally:
            self._outdate(variable)
            self.mark_initialized(variable)

    def _outdate(self, variable: VariableHandle) -> None:
        for s in self.watching((variable,)):
            s.outdate()

    @contextmanager
    def restored(self, variables: Iterable[VariableHandle]) -> Iterator[None]:
        """Afterwards give these variables the values they had before; those that had none lose theirs."""
        before = {v: self.read(v) if v in self._ready else None for v in variables}
        try:
            yield
        finally:
            for v, value in before.items():
                if value is not None:
                    self.write(v, value)
                elif v in self._ready:
                    self._ready.discard(v)
                    self._changed()


def _form(variable: VariableHandle) -> Form:
    if not variable.type.is_static:
        raise InvalidArgumentError(None, None, f"variable {variable.name!r} has the unknown shape "
                                               f"{variable.type}: give it one")
    return form_of(variable.type)
