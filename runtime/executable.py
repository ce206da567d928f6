"""Executable: one fetch signature, ready to be called."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from graphflow.compiler import flags
from graphflow.compiler.errors import (
    GraphError,
    InvalidArgumentError,
    ResourceExhaustedError,
    ShapeError,
    UnsupportedError,
)
from graphflow.compiler.ir.dims import Atom, atoms_of, evaluate
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.program import Program
from graphflow.compiler.records import record
from graphflow.compiler.signature import Growing, Signature, Undecided
from graphflow.runtime import report
from graphflow.runtime.feeds import check_shape, convert_feed, fed_text, feed_types
from graphflow.runtime.pages import Array
from graphflow.runtime.plan import Compiled, Plan, broken, symbol_value

if TYPE_CHECKING:
    from graphflow.runtime.engine import Engine
    from graphflow.runtime.setup import Setup
    from graphflow.runtime.stages import Prepare, Stages

_PLAN_BYTES, _LEAST_PLANS = 1 << 26, 64  # what may be kept for feeds of all the shapes that there were
Result = TypeVar("Result")
Pins = tuple[tuple[str, int], ...]
MakeSignature = Callable[[tuple[TensorType, ...], Pins], Signature]
Compile = Callable[[Signature], "Variant"]
See = Callable[["Executable", Plan, Sequence[Array]], None]


@record
class Variant:
    """A program for feeds of some types, ready to run, and what it holds between runs."""

    program: Program
    native: Compiled
    setup: Setup | None


@record
class Figures:
    """Of one program: bytes of arena and outputs, kernels, and the operations of the user's graph."""

    peak_bytes: int
    kernels: int
    ops: int


class Executable:
    """`executable(*feeds)` gives a list with the value of each fetch.

    A value is a numpy array of the caller's own, or a numpy scalar for a tensor without axes. New feed shapes
    make a new plan (microseconds). A new program is compiled for another rank of a feed of unknown rank;
    for dims that the program took for equal and that are not; and for each value
    of a dim that cannot stay unknown (squeeze without axes, running sums, dims equal only by their formulas).
    """

    def __init__(self, engine: Engine, signature: MakeSignature, compile: Compile,
                 feeds: Sequence[Tensor], stage: Prepare) -> None:
        self._engine = engine
        self.store = engine.store
        self._signature = signature
        self._compile = compile
        self._stage = stage
        self._feeds = tuple(feeds)
        self._dtypes = tuple(t.dtype.numpy for t in feeds)
        self._plans: dict[Any, list[Plan]] = {}  # several where they guess what a run computes
        self._variants: dict[Any, Variant] = {}
        self._rooms: dict[Atom, int] = {}  # guesses that were too low before
        self._elements: tuple[tuple[int, int], ...] = ()  # integers of feeds on which shapes depend
        self._runs: dict[Any, Callable[[Sequence[Array]], list[Any]]] = {}
        self.stages: Stages | None = None  # in which it runs, if a loop needs it
        self._compile_seconds = 0.0
        self.call = self._fast_call()

    def __call__(self, *values: Any, rows: Sequence[Any] = (), key: Any = None) -> list[Any]:
        return self.call(*values) if key is None and not rows else self._slow_call(values, rows, key)

    def _fast_call(self) -> Callable[..., list[Any]]:
        """The hit path: feeds that are arrays of the right dtype and of shapes seen before go straight on.

        A closure over a few locals, since each attribute costs as much as the native call itself.
        """
        runs, dtypes, count, convert_all, exhausted, array_type = (
            self._runs, self._dtypes, len(self._dtypes), self._slow_call, self._exhausted, np.ndarray)

        def call(*values: Any) -> list[Any]:
            shapes = []
            for v, dtype in zip(values, dtypes):  # noqa: B905  (the lengths are compared below)
                if type(v) is not array_type or v.dtype is not dtype or not v.flags.c_contiguous:
                    return convert_all(values)
                shapes.append(v.shape)
            run = runs.get(tuple(shapes))
            if run is None or len(values) != count:
                return convert_all(values)
            try:
                return run(values)
            except MemoryError:
                raise exhausted(values) from None

        return call

    def _slow_call(self, values: Sequence[Any], rows: Sequence[Any] = (), key: Any = None) -> list[Any]:
        """Convert the feeds; plan for new shapes, or run in stages."""
        arrays = self._converted(values)
        plan = self._plan(arrays, key)
        if not isinstance(plan, Plan):
            if plan.random and key is None:
                key = np.array(self._engine.next_key(), np.uint32)
            with self.store.lock if plan.alone else contextlib.nullcontext():
                return plan(arrays, rows, key)
        try:
            return plan.run(arrays) if key is None else plan.run_with(arrays, key)
        except MemoryError:
            raise self._exhausted(arrays) from None

    def observed(self, values: Sequence[Any], see: See, rows: Sequence[Any] = (),
                 key: Any = None) -> list[Any]:
        """A run, with `see(executable, plan, feeds)` called before each of the programs that it takes.

        The next run has the same random numbers.
        """
        key = np.array(self._engine.peek_key(), np.uint32) if key is None else key
        arrays = self._converted(values)
        plan = self._plan(arrays, key)
        if not isinstance(plan, Plan):
            def run(stage: Executable, *given: Any) -> list[Any]:
                return stage.observed(given[0], see, *given[1:])

            with self.store.lock if plan.alone else contextlib.nullcontext():
                return plan(arrays, rows, key, run)
        see(self, plan, arrays)
        return plan.run_with(arrays, key)

    def plan_for(self, values: Sequence[Any]) -> tuple[Plan, list[Array]]:
        """The plan for these feeds, made now if need be, and the feeds converted."""
        arrays = self._converted(values)
        plan = self._plan(arrays)
        if not isinstance(plan, Plan):
            raise UnsupportedError("a run in stages has several plans")
        return plan, arrays

    def is_in_stages(self, values: Sequence[Any]) -> bool:
        """Whether a run on these feeds is made of several programs."""
        return not isinstance(self._plan(self._converted(values)), Plan)

    def _converted(self, values: Sequence[Any]) -> list[Array]:
        if self._engine.closed:
            raise RuntimeError("the session of this function is closed")
        if len(values) != len(self._feeds):
            raise TypeError(f"{len(self._feeds)} values are to be fed, not {len(values)}")
        return [convert_feed(v, t) for v, t in zip(values, self._feeds, strict=True)]

    def _plan(self, arrays: list[Array], key: Any = None) -> Plan | Stages:
        if self.stages is not None:
            return self.stages
        with self._engine.lock:
            plans = self._plans.get(self._key(arrays))
            try:
                return plans[0] if plans else self._new_plan(arrays, key)
            except Growing as e:
                from graphflow.runtime.stages import Stages

                self.stages = Stages(self._stage, e.signature, e.loop)
        return self.stages

    def _start_again(self, failed: Plan, a: Atom, value: int, arrays: Sequence[Array],
                     key: Array) -> list[Any]:
        """Run again where a guess was wrong, which changes nothing else; with the same random numbers."""
        with self._engine.lock:
            if failed.program.symbols[a].room:
                self._rooms[a] = max(value, self._rooms.get(a, 0))
                self._plans.clear()
                self._runs.clear()
                plan = self._new_plan(list(arrays), key)
            else:
                plan = self._other_plan({**failed.guesses, a: value}, list(arrays), key)
        return plan.run_with(arrays, key)

    def _other_plan(self, guesses: Mapping[Atom, int], arrays: list[Array], key: Array) -> Plan:
        """The plan for other guesses, from now on the first to be tried."""
        for plan in self._plans.get(self._key(arrays), ()):
            if all(guesses.get(a) == value for a, value in plan.guesses.items()):
                self._put_first(plan, arrays)
                return plan
        return self._new_plan(arrays, key)

    def forget(self) -> None:
        """Drop all plans and programs."""
        for known in (self._runs, self._plans, self._variants):
            known.clear()

    def _key(self, arrays: Sequence[Array]) -> tuple[Any, ...]:
        return (*(a.shape for a in arrays), *(int(arrays[f].flat[k]) for f, k in self._elements))

    # The first call with new shapes

    def _new_plan(self, arrays: list[Array], key: Array | None = None) -> Plan:
        """A plan for feeds of new shapes, or where a guess was wrong in a run with this random key."""
        for a, t in zip(arrays, self._feeds, strict=True):
            check_shape(a, t)
        plan = self._planned(arrays, {}, key)
        plan.start_again = self._start_again
        if flags.debug_level() >= 2:
            report.planned(plan)
        if flags.debug_level():
            plan.run = report.timed(plan.run, plan.program)
        self._put_first(plan, arrays)
        return plan

    def _planned(self, arrays: list[Array], pins: dict[str, int], key: Array | None, asks: str = "") -> Plan:
        variant, values = self._fitting(arrays, pins, key, asks)
        program = variant.program
        wrong = broken(list(program.required), values)
        if wrong:
            raise self._misfit(arrays, values, "; ".join(
                f"{program.required[a, b]}: {a} must equal {b}" for a, b in wrong))
        try:
            return Plan(program, variant.native, values, self.store, self._engine.next_key,
                        self._engine.threads, variant.setup, arenas=self._engine.arenas)
        except ShapeError as e:
            raise self._misfit(arrays, values, str(e)) from None
        except (MemoryError, OverflowError):  # numbers past 64 bits
            raise self._too_large(arrays, program, values) from None

    def _put_first(self, plan: Plan, arrays: Sequence[Array]) -> None:
        """Have calls with such feeds use a plan."""
        place = self._key(arrays)
        if place not in self._plans:
            self._let_go(_PLAN_BYTES // plan.bytes)
        others = [p for p in self._plans.get(place, ()) if p is not plan]
        self._plans[place] = [plan, *others]
        if not self._elements:
            self._runs[place] = plan.run

    def _let_go(self, most: int) -> None:
        """Of plans by chance, where there are so many: if shapes come in turn, the oldest is needed next."""
        while len(self._plans) >= max(most, _LEAST_PLANS):
            place = random.choice(list(self._plans))
            self._plans.pop(place)
            self._runs.pop(place, None)

    def _fitting(self, arrays: list[Array], pins: dict[str, int], key: Array | None,
                 asks: str) -> tuple[Variant, dict[Atom, int]]:
        """A program whose guards hold for these feeds; dims in a broken one become constants of the next."""
        types = feed_types(self._feeds, arrays)
        while True:
            try:
                variant = self._decided(lambda types, pins: self._variant(types, pins, asks), types, arrays,
                                        pins, key)
            except ShapeError as e:
                if not pins and all(t.type.is_static for t in self._feeds):
                    raise
                raise self._misfit(arrays, {}, str(e)) from None
            program = variant.program
            values = {a: pins[a.name] if s.guess else self._rooms.get(a) or symbol_value(s, arrays)
                      for a, s in program.symbols.items()}
            wrong = broken((*program.guards, *program.required), values)
            new = {a.name: values[a] for pair in wrong for d in pair for a in atoms_of(d) & values.keys()}
            if not wrong or (new.keys() <= pins.keys() and not broken(program.guards, values)):
                return variant, values  # what is required and still does not hold, the caller tells
            if new.keys() <= pins.keys():
                rules = ", ".join(f"{a} must equal {b}" for a, b in wrong)
                raise self._misfit(arrays, values, f"the feeds' shapes do not fit each other: {rules}")
            pins |= new

    def _decided(self, compile: Callable[[tuple[TensorType, ...], Pins], Result],
                 types: tuple[TensorType, ...], arrays: list[Array], pins: dict[str, int],
                 key: Array | None = None) -> Result:
        """What `compile` gives, once `pins` (to which this adds) has all that must be constants."""
        while True:
            try:
                return compile(types, tuple(sorted(pins.items())))
            except Undecided as e:
                new = {a.name: self._answer(a.name, arrays, pins, key) if e.symbols[a].guess
                       else symbol_value(e.symbols[a], arrays) for a in e.atoms}
                assert not new.keys() <= pins.keys(), f"dims stay undecided: {e}"
                pins |= new

    def _answer(self, asks: str, arrays: list[Array], pins: Mapping[str, int], key: Array | None) -> int:
        """An integer that a run with this random key computes; None is the key of the next run."""
        def again(failed: Plan, a: Atom, value: int, arrays: Sequence[Array], key: Array) -> list[Any]:
            room = failed.program.symbols[a].room
            self._rooms |= {a: value} if room else {}
            return [self._answer(asks, list(arrays), pins if room else {**pins, a.name: value}, key)]

        plan = self._planned(arrays, dict(pins), key, asks)
        plan.start_again = again
        return int(plan.run_with(arrays, self._engine.peek_key() if key is None else key)[0])

    def _variant(self, types: tuple[TensorType, ...], pins: Pins, asks: str) -> Variant:
        place = (types, pins, asks)
        found = self._variants.get(place)
        if found is None:
            start = time.perf_counter()
            found = self._variants[place] = self._compile(replace(self._signature(types, pins), asks=asks))
            self._compile_seconds += time.perf_counter() - start
            self._note_elements(found.program)
        return found

    def _misfit(self, arrays: list[Array], values: Mapping[Atom, int],
                rules: str) -> InvalidArgumentError:
        """The error of feeds that break a rule of an operation: what the rule says when it knows all dims.

        rules  what to say where only the symbols' rules are known
        """
        from graphflow.compiler.pipeline import check_shapes

        types = tuple(TensorType(t.dtype, a.shape) for t, a in zip(self._feeds, arrays, strict=True))
        op: Operation | None = None
        if values:
            rules += f", with {', '.join(f'{a.name} = {v}' for a, v in values.items())}"
        try:
            self._decided(lambda types, pins: check_shapes(self._signature(types, pins)), types, arrays,
                          {a.name: v for a, v in values.items()})
        except ShapeError as e:
            rules = str(e)
            op = e.op and self._user_op(e.op.name)
        return InvalidArgumentError(None, op, rules + fed_text(self._feeds, arrays))

    def _exhausted(self, values: Sequence[Any]) -> ResourceExhaustedError:
        """The error of a run for which there was not enough memory."""
        plan, arrays = self.plan_for(values)
        return self._too_large(arrays, plan.program, plan.values)

    def _too_large(self, arrays: Sequence[Array], program: Program,
                   values: Mapping[Atom, int]) -> ResourceExhaustedError:
        sizes = [evaluate(b.size, values) * b.dtype.size for b in program.buffers]
        size, largest = max(zip(sizes, program.buffers, strict=True), key=lambda pair: pair[0])
        op = self._user_op(largest.name)
        name = op.name if op else largest.name
        rules = (f"the tensors of this run are too large for memory: {name!r} (made at {largest.source}) "
                 f"alone takes {report.bytes_text(size)}")
        return ResourceExhaustedError(None, op, rules + fed_text(self._feeds, arrays))

    def _user_op(self, name: str) -> Operation | None:
        """The operation of this name, or the one that a pass made it from, which names it `name/...`."""
        while name:
            with contextlib.suppress(GraphError):
                return self._engine.graph.get_operation_by_name(name)
            name = name.rpartition("/")[0]
        return None

    def _note_elements(self, program: Program) -> None:
        new = {(s.feed, s.element) for s in program.symbols.values() if s.element is not None}
        if not new <= set(self._elements):
            self._elements = tuple(sorted(new | set(self._elements)))
            self._plans.clear()  # their keys lack these integers
            self._runs.clear()

    def figures(self, arrays: Sequence[Array]) -> Figures:
        """Figures of the program that ran for feeds of these shapes; of a run in stages, of all of them."""
        if self.stages is not None:
            return self._staged_figures(self.stages)
        return self._figures_of(self.plan_for(arrays)[0])

    def _staged_figures(self, stages: Stages) -> Figures:
        found = [f for part in stages.titles for f in part.latest_figures()]
        return Figures(max(f.peak_bytes for f in found), sum(f.kernels for f in found),
                       sum(f.ops for f in found))

    def latest_figures(self) -> list[Figures]:
        """Figures of the program for which the last plan was made, if there is one."""
        if self.stages is not None:
            return [self._staged_figures(self.stages)]
        return [self._figures_of(plans[0]) for plans in list(self._plans.values())[-1:]]

    def _figures_of(self, plan: Plan) -> Figures:
        outputs = sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in plan.outputs)
        return Figures(plan.arena_bytes + outputs, len(plan.program.calls), plan.program.ops)

    @property
    def _parts(self) -> list[Executable]:
        """The stages."""
        return [] if self.stages is None else list(self.stages.titles)

    @property
    def compile_seconds(self) -> float:
        """What compiling has taken so far."""
        return self._compile_seconds + sum(p.compile_seconds for p in self._parts)

    @property
    def programs(self) -> list[Program]:
        """The programs compiled so far."""
        own = [v.program for v in self._variants.values()]
        return own + [p for part in self._parts for p in part.programs]
