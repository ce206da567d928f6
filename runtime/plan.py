"""A program for given feed shapes: run-time integers, places in the arena, and the frames of its calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from graphflow.compiler.codegen.frame import (
    ERROR_CHECK,
    ERROR_EXTENT,
    ERROR_INDEX,
    GEMM_F32,
    GEMM_F64,
    RELEASE_LOCK,
    block_starts,
)
from graphflow.compiler.errors import InvalidArgumentError
from graphflow.compiler.ir.dims import Atom, Dim, evaluate
from graphflow.compiler.passes.plan_memory import place
from graphflow.compiler.program import Program, Symbol
from graphflow.runtime.blas import gemm_addresses
from graphflow.runtime.variables import VariableStore, aligned_empty

Array = np.ndarray[Any, Any]
_UNLOCK_ABOVE = 400_000  # additions, about 40 us: below, letting other threads in costs more than it gives


def symbol_value(s: Symbol, feeds: Sequence[Array]) -> int:
    feed = feeds[s.feed]
    return int(feed.shape[s.axis]) if s.axis is not None else int(feed.flat[s.element or 0])


class Compiled(Protocol):
    """What runs a program: native code, or the interpreter."""

    def entry(self, sizes: Sequence[int]) -> Callable[..., Any]: ...

    def assembly(self) -> str: ...


class Slot:
    """The memory of one call at a time: its frame and arena."""

    __slots__ = ("frame", "arena", "key", "version")

    def __init__(self, frame: Array, arena: Array, key: Array) -> None:
        self.frame = frame
        self.arena = arena
        self.key = key
        self.version = -1


class Plan:
    """What is fixed once the feed shapes are known. Calls take a free slot, so several may run at once."""

    def __init__(self, program: Program, native: Compiled, values: Mapping[Atom, int]) -> None:
        self.program = program
        self.uses_key = program.uses_key
        self.outputs = [(tuple(evaluate(d, values) for d in t.known_dims), t.dtype.numpy)
                        for t in program.outputs]
        self.scalars = any(not shape for shape, _ in self.outputs)
        self.first_call = True
        self.free: list[Slot] = []
        self._sizes = [evaluate(b.size, values) * b.dtype.size for b in program.buffers]
        self.call = native.entry(self._sizes)
        arena = [k for k, b in enumerate(program.buffers) if b.role == "arena"]
        lives = [(program.buffers[k].first, program.buffers[k].last) for k in arena]
        offsets, self.arena_bytes = place([self._sizes[k] for k in arena], lives)
        self._arena_offsets = np.zeros(len(program.buffers), np.int64)
        self._arena_offsets[arena] = offsets
        self._in_arena = np.array(arena, np.int64)
        self._blocks = _Blocks(program, values)
        self.work = sum(_work(c.kind, c.work, [evaluate(d, values) for d in c.extents])
                        for c in program.calls)

    def new_slot(self) -> Slot:
        """Memory for a call; its frame lacks the addresses of buffers until it is bound."""
        frame = np.zeros(self._blocks.end + 3 * len(self.program.copies), np.int64)
        frame[GEMM_F32], frame[GEMM_F64] = gemm_addresses()
        frame[RELEASE_LOCK] = self.work > _UNLOCK_ABOVE
        frame[self._blocks.integer_slots] = self._blocks.integers
        return Slot(frame, aligned_empty((self.arena_bytes,), np.dtype(np.uint8)), np.zeros(4, np.uint32))

    def bind(self, slot: Slot, store: VariableStore) -> None:
        """Put the addresses of all buffers but feeds and outputs into the frame.

        Raises:  FailedPreconditionError when a variable that is read has no value
        """
        program = self.program
        for v in program.reads:
            store.require(v)
        addresses = np.zeros(len(program.buffers), np.int64)
        addresses[self._in_arena] = slot.arena.ctypes.data + self._arena_offsets[self._in_arena]
        for k, b in enumerate(program.buffers):
            if b.role == "state":
                assert b.variable is not None
                addresses[k] = store.array(b.variable).ctypes.data
            elif b.role == "constant":
                addresses[k] = program.constants[b.index].ctypes.data
            elif b.role == "key":
                addresses[k] = slot.key.ctypes.data
        slot.frame[self._blocks.buffer_slots] = addresses[self._blocks.buffers]
        for k, (source, target) in enumerate(program.copies):
            at = self._blocks.end + 3 * k
            slot.frame[at:at + 3] = addresses[source], addresses[target], self._sizes[source]
        slot.version = store.version

    def error(self, slot: Slot) -> InvalidArgumentError:
        """What the frame says went wrong."""
        check, index, extent = (int(slot.frame[k]) for k in (ERROR_CHECK, ERROR_INDEX, ERROR_EXTENT))
        where = self.program.checks[check - 1]
        return InvalidArgumentError(None, None, f"{where}: index {index} is not in [0, {extent})")


class _Blocks:
    """Which slots of the frame hold buffer addresses and which hold integers, as index arrays."""

    def __init__(self, program: Program, values: Mapping[Atom, int]) -> None:
        starts = block_starts(program.calls)
        self.end = starts[-1]
        buffer_slots: list[int] = []
        buffers: list[int] = []
        integer_slots: list[int] = []
        integers: list[int] = []
        for c, start in zip(program.calls, starts, strict=False):
            buffers += c.buffers
            buffer_slots += range(start, start + len(c.buffers))
            integers += [values[a] for a in c.symbols]
            integers.append(c.check)
            first = start + len(c.buffers)
            integer_slots += range(first, first + len(c.symbols) + 1)
        self.buffer_slots, self.buffers = np.array(buffer_slots, np.int64), np.array(buffers, np.int64)
        self.integer_slots, self.integers = np.array(integer_slots, np.int64), np.array(integers, np.int64)


def _work(kind: str, work: int, extents: list[int]) -> int:
    product = 1
    for e in extents:
        product *= max(e, 1)
    return product // 16 if kind == "product" else product * max(work, 1) // 8


def broken(pairs: Sequence[tuple[Dim, Dim]], values: Mapping[Atom, int]) -> list[tuple[Dim, Dim]]:
    """The pairs that are not equal at these values."""
    return [(a, b) for a, b in pairs if evaluate(a, values) != evaluate(b, values)]
