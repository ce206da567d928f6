"""GRAPHFLOW_JIT=0: a program's loop nests run in plain numpy, on the same frame and memory as native code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.codegen.frame import ERROR_CHECK, ERROR_EXTENT, ERROR_INDEX, block_starts
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.loops.interpret_nest import run_nest
from graphflow.compiler.program import Program

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
        feeds = sum(b.role == "feed" for b in program.buffers)
        for c, start in zip(program.calls, self.starts, strict=False):
            buffers = []
            for k, number in enumerate(c.buffers):
                b = program.buffers[number]
                if b.role in ("feed", "output"):
                    buffers.append(arrays[b.index + (feeds if b.role == "output" else 0)].reshape(-1))
                else:
                    buffers.append(_memory(int(frame[start + k]), sizes[number], b.dtype))
            first = start + len(c.buffers)
            values = {a: int(frame[first + k]) for k, a in enumerate(c.nest.symbols)}
            faults = run_nest(c.nest, buffers, values)
            if faults:
                frame[ERROR_CHECK] = c.first_check + c.nest.checks.index(faults[0].where) + 1
                frame[ERROR_INDEX], frame[ERROR_EXTENT] = faults[0].index, faults[0].extent
                return frame
        for at in range(self.starts[-1], len(frame), 3):
            ctypes.memmove(int(frame[at + 1]), int(frame[at]), int(frame[at + 2]))
        return None


def _memory(address: int, size: int, dtype: DType) -> Array:
    """The numpy view of memory that the frame points to."""
    if size == 0:
        return np.empty(0, dtype.numpy)
    return np.frombuffer(memoryview((ctypes.c_char * size).from_address(address)), dtype=dtype.numpy)
