"""GRAPHFLOW_JIT=0: a program's loop nests run in plain numpy, on the same frame and memory as native code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.codegen.frame import ERROR_CHECK, ERROR_EXTENT, ERROR_INDEX, block_starts, slots_of
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.loops.interpret_nest import run_nest
from graphflow.compiler.program import Action, Branch, Move, Program, Run

Array = np.ndarray[Any, Any]


class InterpretedProgram:
    """Stands in for a native function."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.starts = block_starts(program.calls)

    def entry(self, sizes: Sequence[int]) -> Callable[..., Any]:
        """What to call for buffers of these sizes in bytes."""
        def call(frame: Array, *arrays: Array) -> Array | None:
            return self._run(frame, arrays, sizes)
        return call

    def assembly(self) -> str:
        return "(none: GRAPHFLOW_JIT=0)"

    def _run(self, frame: Array, arrays: Sequence[Array], sizes: Sequence[int]) -> Array | None:
        program = self.program
        frame[ERROR_CHECK] = 0
        memory = self._memory(frame, arrays, sizes)
        if not self._steps(program.steps, frame, memory):
            return frame
        for source, target in program.copies:
            memory[target][...] = memory[source]
        return None

    def _memory(self, frame: Array, arrays: Sequence[Array], sizes: Sequence[int]) -> list[Array]:
        """Every buffer that is used, as a flat array."""
        program = self.program
        feeds = sum(b.role == "feed" for b in program.buffers)
        found = [np.empty(0, b.dtype.numpy) for b in program.buffers]
        for slot, number in slots_of(program.calls, program.steps, program.copies):
            b = program.buffers[number]
            if b.role in ("feed", "output"):
                found[number] = arrays[b.index + (feeds if b.role == "output" else 0)].reshape(-1)
            else:
                found[number] = _view(int(frame[slot]), sizes[number], b.dtype)
        return found

    def _steps(self, steps: Sequence[Action], frame: Array, memory: Sequence[Array]) -> bool:
        """Whether all went well."""
        for s in steps:
            if isinstance(s, Run):
                fine = self._call(s.call, frame, memory)
            elif isinstance(s, Move):
                memory[s.target][...] = memory[s.source]
                fine = True
            elif isinstance(s, Branch):
                fine = self._steps(s.then if memory[s.flag][0] else s.otherwise, frame, memory)
            else:
                fine = self._steps(s.test, frame, memory)
                while fine and memory[s.flag][0]:
                    fine = self._steps((*s.body, *s.test), frame, memory)
            if not fine:
                return False
        return True

    def _call(self, number: int, frame: Array, memory: Sequence[Array]) -> bool:
        call = self.program.calls[number]
        first = self.starts[number] + len(call.buffers)
        values = {a: int(frame[first + k]) for k, a in enumerate(call.nest.symbols)}
        faults = run_nest(call.nest, [memory[b] for b in call.buffers], values)
        if faults:
            frame[ERROR_CHECK] = call.first_check + call.nest.checks.index(faults[0].where) + 1
            frame[ERROR_INDEX], frame[ERROR_EXTENT] = faults[0].index, faults[0].extent
        return not faults


def _view(address: int, size: int, dtype: DType) -> Array:
    """The numpy view of memory that the frame points to."""
    if size == 0:
        return np.empty(0, dtype.numpy)
    return np.frombuffer(memoryview((ctypes.c_char * size).from_address(address)), dtype=dtype.numpy)
