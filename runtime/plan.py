"""A program for given feed shapes: run-time integers, places in the arena, and the frames of its calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from graphflow.compiler import flags
from graphflow.compiler.codegen.frame import (
    ERROR_CHECK,
    ERROR_EXTENT,
    ERROR_INDEX,
    GEMM_F32,
    GEMM_F64,
    PARALLEL_FOR,
    POOL,
    RELEASE_LOCK,
    block_size,
    block_starts,
)
from graphflow.compiler.codegen.interrupt import WORK_BETWEEN_LOOKS
from graphflow.compiler.errors import InvalidArgumentError, ShapeError
from graphflow.compiler.ir.dims import Atom, Dim, evaluate
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.loops.nest import ACCESS, LEAST_PART, Loop
from graphflow.compiler.placement import place_arena
from graphflow.compiler.program import Call, Program, Repeat, Symbol, moves, tested
from graphflow.runtime.blas import gemm_addresses, limited
from graphflow.runtime.memory import Arenas, is_large, result_array, result_arrays
from graphflow.runtime.pages import Array, Form
from graphflow.runtime.threads import pool_addresses, usable_cores
from graphflow.runtime.variables import VariableStore

if TYPE_CHECKING:
    from graphflow.runtime.setup import Setup

_ASSUMED_TRIPS = 100  # of loops, to decide how much work they are
FIRST_ROOM = 256  # rows; a run that needs more starts again with twice as many
_MOST_BYTES = 2**62  # more than there is, so that sums of sizes stay within 64 bits
_NO_ARENA = np.empty(0, np.uint8)
_UNLOCK_ABOVE = 4 * LEAST_PART  # below, letting other threads in costs more than it gives


def symbol_value(s: Symbol, feeds: Sequence[Array]) -> int:
    if s.room:
        return FIRST_ROOM
    feed = feeds[s.feed]
    return int(feed.shape[s.axis]) if s.axis is not None else int(feed.flat[s.element or 0])


class Compiled(Protocol):
    """What runs a program: native code, or the interpreter."""

    def entry(self, sizes: Sequence[int]) -> Callable[..., Any]: ...

    def assembly(self) -> str: ...


StartAgain = Callable[["Plan", Atom, int, Sequence[Array], Array], list[Any]]


class Slot:
    """The memory of one call at a time, but for its arena.

    arena         number of the arena that the frame refers to, and `start` its address
    first_writes  variables that it is the first to give a value
    held          what the frame refers to of the setup's results
    outdates      the setups that read variables which a call writes
    """

    __slots__ = ("arena", "first_writes", "frame", "held", "key", "outdates", "start", "version")

    def __init__(self, frame: Array, key: Array) -> None:
        self.frame = frame
        self.key = key
        self.arena = 0
        self.start = 0
        self.version: object = None
        self.first_writes: tuple[VariableHandle, ...] = ()
        self.held: tuple[Array, ...] = ()
        self.outdates: tuple[Setup, ...] = ()


class Plan:
    """What is fixed once the feed shapes are known. Calls take a free slot, so several may run at once."""

    def __init__(self, program: Program, native: Compiled, values: Mapping[Atom, int], store: VariableStore,
                 next_key: Callable[[], Sequence[int]], threads: int = 1,
                 setup: Setup | None = None,
                 empty: Callable[[Sequence[Form]], list[Array]] = result_arrays,
                 arenas: Arenas | None = None) -> None:
        self.program = program
        self.values = values
        self.threads = threads
        self.store = store
        self.setup = setup
        self.watched: VariableStore | Setup = setup or store  # whose version tells whether a slot is bound
        self.next_key = next_key
        self.empty = empty
        self.arenas = arenas or Arenas()
        self.outputs = [(tuple(evaluate(d, values) for d in t.known_dims), t.dtype.numpy)
                        for t in program.outputs]
        self.free: list[Slot] = []
        self.guesses = {a: values[a] for a, s in program.symbols.items() if s.guess}
        self.start_again: StartAgain | None = None
        self.sizes = [evaluate(b.size, values) * b.dtype.size for b in program.buffers]
        if min(min(self.sizes, default=0), *(min(shape, default=0) for shape, _ in self.outputs), 0) < 0:
            raise ShapeError("a tensor would have a dim below 0")
        if sum(self.sizes) > _MOST_BYTES:
            raise MemoryError
        self.call = native.entry(self.sizes)
        arena = [k for k, b in enumerate(program.buffers) if b.role == "arena"]
        offsets, self.arena_bytes = program.arena or place_arena(program.buffers, self.sizes)
        self._arena_offsets = np.zeros(len(program.buffers), np.int64)
        self._arena_offsets[arena] = offsets
        self._in_arena = np.array(arena, np.int64)
        self._blocks = _Blocks(program, values, threads)
        self._copied = [*program.copies, *((m.source, m.target) for m in moves(program.steps))]
        self._flags = [t.flag for t in tested(program.steps)]
        work = sum(_work(c, values) for c in program.calls)
        repeats = any(isinstance(t, Repeat) for t in tested(program.steps))
        loops = repeats or any(c.kind == "while" for c in program.calls)  # nobody knows how long they take
        self.lets_others_in = loops or work > _UNLOCK_ABOVE
        one_array = len(self.outputs) == 1 and self.outputs[0][0] and empty is result_arrays
        simple = one_array and not (program.writes or program.uses_key or self.arena_bytes)
        self.run = self._run_simple() if simple else self.run_with
        if threads < usable_cores() and any(c.nest.calls_blas for c in program.calls):
            self.run = limited(self.run, threads)
        if program.alone:
            self.run = store.alone(self.run)

    def run_with(self, arrays: Sequence[Array], key: Sequence[int] | Array | None = None) -> list[Any]:
        """Run on feeds of this plan's shapes; gives a new array, or a number, per output.

        key  of the random numbers; None is the next one
        """
        try:
            slot = self.free.pop()
        except IndexError:
            slot = self.new_slot()
        arena: Array | None = self.arenas.free.pop(slot.arena, None) if self.arena_bytes else _NO_ARENA
        if arena is None:
            arena = self.other_arena(slot)
        if slot.version is not self.watched.version:
            self.bind(slot)
        if self.program.uses_key:
            slot.key[:] = self.next_key() if key is None else key
        outputs = self.empty(self.outputs)
        if slot.outdates:  # already now: a signal's handler may raise on the way to the second time
            self._tell_of_writes(slot)
        try:
            fault = self.call(slot.frame, *arrays, *outputs)
        finally:
            if slot.outdates or slot.version is not self.watched.version:
                self._tell_of_writes(slot)
        if self.arena_bytes:
            self.arenas.free[slot.arena] = arena
        if fault is not None:
            return self.failed(slot, arrays)
        if slot.first_writes:
            for v in slot.first_writes:
                self.store.mark_initialized(v)
            slot.first_writes = ()
        self.free.append(slot)
        return [o if o.ndim else o[()] for o in outputs]

    def _run_simple(self) -> Callable[[Sequence[Array]], list[Any]]:
        """The same for one output that is no scalar, without writes, random numbers and an arena.

        A closure over locals: attributes would cost as much as a small program's native call.
        """
        (shape, dtype), = self.outputs
        call, free, watched, new_slot = self.call, self.free, self.watched, self.new_slot
        new: Callable[..., Array] = result_array if is_large(shape, dtype) else np.empty

        def run(arrays: Sequence[Array]) -> list[Any]:
            try:
                slot = free.pop()
            except IndexError:
                slot = new_slot()
            if slot.version is not watched.version:
                self.bind(slot)
            output = new(shape, dtype)
            if call(slot.frame, *arrays, output) is not None:
                return self.failed(slot, arrays)
            free.append(slot)
            return [output]

        return run

    @property
    def bytes(self) -> int:
        """About so many it takes, without its arena: a frame, and what fills one."""
        return 32 * self._blocks.end

    def new_slot(self) -> Slot:
        """Memory for a call; its frame lacks the addresses of buffers until it is bound."""
        frame = np.zeros(self._blocks.end + 3 * len(self._copied) + len(self._flags), np.int64)
        frame[GEMM_F32], frame[GEMM_F64] = gemm_addresses()
        if self._blocks.in_parts and flags.use_jit():
            frame[POOL], frame[PARALLEL_FOR] = pool_addresses(self.threads)
        frame[RELEASE_LOCK] = self.lets_others_in
        frame[self._blocks.integer_slots] = self._blocks.integers
        return Slot(frame, np.zeros(4, np.uint32))

    def other_arena(self, slot: Slot) -> Array:
        """An arena for a slot whose own is in use, or gone; the slot is to be bound again."""
        slot.arena, arena = self.arenas.another(self.arena_bytes)
        slot.start, slot.version = arena.ctypes.data, None
        return arena

    def bind(self, slot: Slot) -> None:
        """Put the addresses of all buffers but feeds and outputs into the frame.

        Raises:  FailedPreconditionError when a variable that is read has no value
        """
        program, store, version = self.program, self.store, self.watched.version
        for v in program.reads:
            store.require(v)
        store.hold([b.variable for b in program.buffers if b.variable is not None])
        slot.held = self.setup.values() if self.setup else ()
        addresses = np.zeros(len(program.buffers), np.int64)
        addresses[self._in_arena] = slot.start + self._arena_offsets[self._in_arena]
        for k, b in enumerate(program.buffers):
            if b.role == "state":
                assert b.variable is not None
                addresses[k] = store.array(b.variable).ctypes.data
            elif b.role == "constant":
                addresses[k] = program.constants[b.index].ctypes.data
            elif b.role == "held":
                addresses[k] = slot.held[b.index].ctypes.data
            elif b.role == "key":
                addresses[k] = slot.key.ctypes.data
        slot.frame[self._blocks.buffer_slots] = addresses[self._blocks.buffers]
        for k, (source, target) in enumerate(self._copied):
            at = self._blocks.end + 3 * k
            slot.frame[at:at + 3] = addresses[source], addresses[target], self.sizes[source]
        first = self._blocks.end + 3 * len(self._copied)
        slot.frame[first:first + len(self._flags)] = addresses[self._flags]
        slot.version = version
        slot.outdates = store.watching(program.writes)
        slot.first_writes = tuple(v for v in program.writes if not store.is_initialized(v))

    def _tell_of_writes(self, slot: Slot) -> None:
        """A setup that came up during the call may have read half of what it wrote."""
        slot.outdates = self.store.watching(self.program.writes)
        for s in slot.outdates:
            s.outdate()

    def failed(self, slot: Slot, arrays: Sequence[Array]) -> list[Any]:
        """Raise what the frame says went wrong; or run again where that was a guess."""
        check, index, extent = (int(slot.frame[k]) for k in (ERROR_CHECK, ERROR_INDEX, ERROR_EXTENT))
        where = self.program.checks[check - 1]
        for a, s in self.program.symbols.items():
            if self.start_again is not None and (where in s.room or where == s.guess):
                value = 2 * extent if s.room else self.values[a] + index
                return self.start_again(self, a, value, arrays, slot.key)
        found = where if extent < 0 else f"{where}: index {index} is not in [0, {extent})"
        raise InvalidArgumentError(None, None, found)


class _Blocks:
    """Which slots of the frame hold buffer addresses and which hold integers, as index arrays."""

    def __init__(self, program: Program, values: Mapping[Atom, int], threads: int) -> None:
        starts = block_starts(program.calls)
        self.end = starts[-1]
        self.in_parts = False
        buffer_slots: list[int] = []
        buffers: list[int] = []
        integer_slots: list[int] = []
        integers: list[int] = []
        for c, start in zip(program.calls, starts, strict=False):
            buffers += c.buffers
            buffer_slots += range(start, start + len(c.buffers))
            integers += [evaluate(d, values) for d in c.symbols]
            integers += [c.first_check, min(_work(c, values), WORK_BETWEEN_LOOKS)]
            if c.nest.parallel:
                count, length = _parts(c, values, threads)
                self.in_parts |= length < count
                integers += [count, length, 0]
            integer_slots += range(start + len(c.buffers), start + block_size(c))
        self.buffer_slots, self.buffers = np.array(buffer_slots, np.int64), np.array(buffers, np.int64)
        self.integer_slots, self.integers = np.array(integer_slots, np.int64), np.array(integers, np.int64)


def _work(c: Call, values: Mapping[Atom, int]) -> int:
    """Of a launch, in additions of vector lanes."""
    extents = [max(evaluate(d, values), 1) for d in c.extents]
    product = math.prod(extents) * (_ASSUMED_TRIPS if c.kind == "while" else 1)
    if c.kind in ("product", "banded"):
        return 2 * product + ACCESS * sum(product // d for d in extents[-3:])  # a matrix lacks m, n or k
    return product * max(c.work, 1)


def _parts(c: Call, values: Mapping[Atom, int], threads: int) -> tuple[int, int]:
    """The iterations of a parallel launch's outermost loop, and those of one part.

    A launch has several only if there are threads for them and enough work for each.
    """
    loop = c.nest.outermost
    count = evaluate(c.iterations, values)
    parts = min(_work(c, values) // LEAST_PART, c.nest.most_parts)
    if parts <= 1 or threads <= 1:
        return count, max(count, 1)
    step = c.nest.width * loop.registers if isinstance(loop, Loop) and loop.vector else 1
    return count, max(-(-count // (parts * step)), 1) * step


def is_in_parts(c: Call, values: Mapping[Atom, int], threads: int) -> bool:
    """Whether a launch runs in several parts, and so on several threads."""
    count, length = _parts(c, values, threads) if c.nest.parallel else (0, 0)
    return length < count


def broken(pairs: Sequence[tuple[Dim, Dim]], values: Mapping[Atom, int]) -> list[tuple[Dim, Dim]]:
    """The pairs that are not equal at these values."""
    return [(a, b) for a, b in pairs if evaluate(a, values) != evaluate(b, values)]
