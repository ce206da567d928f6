"""Stages: a run with a loop whose variables change their shape.

What comes before the loop is one program, an iteration another, what comes after it a third. That of an
iteration is compiled once, for any sizes, and runs again and again: planning for new sizes takes a fraction
of a millisecond, where each iteration as a part of one program would have to be compiled.

A gradient goes backwards through such a loop in another one, which reads the values of the variables before
each iteration. These are kept as they are, in a list, and one by one they are what an iteration is fed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.regions import effects_of, inline, writes_within
from graphflow.compiler.ir.rewrite import ancestors
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.core import program_input
from graphflow.compiler.ops.random import next_iterations_key
from graphflow.compiler.ops.rows import row_at
from graphflow.compiler.passes.leaving import histories_of
from graphflow.compiler.signature import Signature

Values = dict[Tensor, Any]  # of the tensors known so far; of a history, its rows


class Stage(Protocol):
    """A program, which may itself run in stages.

    rows  of the histories that it needs
    key   of its random numbers; None where there are none
    """

    def __call__(self, *feeds: Any, rows: Sequence[Any] = (), key: Any = None) -> list[Any]: ...


# from fetches, targets, feeds and histories to a Stage
Prepare = Callable[[Sequence[Tensor], Sequence[Operation], Sequence[Tensor], Sequence[Tensor]], Any]
Run = Callable[[Any, Sequence[Any], Sequence[Any], Any], list[Any]]


def _run(stage: Stage, feeds: Sequence[Any], rows: Sequence[Any], key: Any) -> list[Any]:
    return stage(*feeds, rows=rows, key=key)


class Stages:
    """Call it with the feeds, the rows of the signature's histories and a key; it gives the fetches' values.

    The random numbers of a key are the same as those of one program, so that a gradient draws them again.

    random  the run needs a key
    alone   other runs that write with a lock are to wait from its start to its end
    titles  the stages, with what each is
    """

    def __init__(self, prepare: Prepare, signature: Signature, loop: Operation) -> None:
        self._prepare, self._signature = prepare, signature
        self._given = signature.given
        needed = ancestors(signature.fetches, self._given, signature.targets)
        self.alone = any(op.use_locking for op in writes_within(needed))
        self.random = any("random" in effects_of(op) for op in needed)
        known = {*self._given, *loop.outputs}
        early = {op for op in ancestors(loop.operands, self._given) if op.operands}
        after = [op for op in ancestors(signature.fetches, known, signature.targets) if op not in early]
        used = dict.fromkeys([*signature.fetches, *(t for op in after for t in (*op.operands, *op.dim_deps))])
        rows = [t for t in histories_of(loop) if t in used]
        self._loop = _Loop(prepare, loop, signature.kept, rows)
        self._found = [t for t in dict.fromkeys([*loop.operands, *(t for t in used if t.op in early)])
                       if t not in known]
        self._before = prepare(self._found, [], signature.feeds, [])
        self._used = [t for t in (*signature.kept, *self._found, *loop.outputs) if t in used]
        self._name = f"{loop.name} ({os.path.basename(loop.source[0])}:{loop.source[1]})"
        self.titles: dict[Any, str] = {
            self._before: f"before {self._name}", self._loop.test: f"whether to begin {self._name}",
            self._loop.step: f"an iteration of {self._name}"}

    def __call__(self, feeds: Sequence[Any], rows: Sequence[Any] = (), key: Any = None,
                 run: Run = _run) -> list[Any]:
        values: Values = dict(zip(self._given, (*feeds, *rows), strict=True))
        values.update(zip(self._found, run(self._before, feeds, (), key), strict=True))
        values.update(self._loop(values, key, run))
        return self._finish(values, key, run)

    def _finish(self, values: Values, key: Any, run: Run) -> list[Any]:
        """What comes after the loop. Histories of loops that a program ran are arrays, and fed as such."""
        s = self._signature
        kept = [t for t in self._used if isinstance(values[t], list)]
        taken = [*s.feeds, *(t for t in self._used if t not in kept)]
        after = self._prepare([t for t in s.fetches if t not in kept], s.targets, taken, kept)
        self.titles[after] = f"after {self._name}"
        last = iter(run(after, [values[t] for t in taken], [values[t] for t in kept], key))
        return [values[t] if t in kept else next(last) for t in s.fetches]


class _Loop:
    """The programs of a loop: its test and an iteration, which ends with the next test.

    kept  histories of other loops; where the body reads a row of one, it is fed that row: the test also gives
          which row that is
    rows  the loop's own histories that are asked for
    """

    def __init__(self, prepare: Prepare, loop: Operation, kept: Sequence[Tensor],
                 rows: Sequence[Tensor]) -> None:
        self.loop, self.rows = loop, rows
        self.replayed = None if loop.replays is None else loop.operands[loop.replays]
        self.plain = [t not in kept for t in loop.operands]
        source = dict(zip(loop.body.inputs, loop.operands, strict=True))
        reads = [op for op in loop.body.operations
                 if op.opdef is row_at and op.x in source and source[op.x] in kept]
        self.sources = [source[op.x] for op in reads]
        indices = [op.index for op in reads]
        with Graph().as_default():
            start = [_entry(t) for t in loop.cond.inputs]
            self.test = prepare(_look(loop, start, indices), [], self._plain(start), [])
        with Graph().as_default():
            entries, past = [_entry(t) for t in loop.body.inputs], [_entry(op.out) for op in reads]
            known = {op.out: t for op, t in zip(reads, past, strict=True)}
            following = inline(loop.body, entries, known=known)[:loop.count]
            again = _look(loop, [*following, *entries[loop.count:]], indices)
            self.step = prepare([*following, *again], [], [*self._plain(entries), *past], [])

    def _plain(self, operands: Sequence[Any]) -> list[Any]:
        """Those that are no histories."""
        return [t for t, plain in zip(operands, self.plain, strict=True) if plain]

    def __call__(self, values: Values, key: Any, run: Run) -> Values:
        """The last values, the rows asked for, and the number of iterations."""
        count, outputs = self.loop.count, self.loop.outputs
        operands = self._plain([values[t] for t in self.loop.operands])
        state, captured = _arrays(operands[:count]), _arrays(operands[count:])
        histories: dict[int, list[Any]] = {histories_of(self.loop).index(t): [] for t in self.rows}
        trips = 0
        again, *places = run(self.test, operands, (), None)
        while again:
            if self.replayed is not None:
                key = values[self.replayed][state[0] - 1]
            for k, history in histories.items():
                history.append(key if k == count else state[k])
            past = [values[t][place] for t, place in zip(self.sources, places, strict=True)]
            found = run(self.step, [*state, *captured, *past], (), key)
            state, again, places = _arrays(found[:count]), found[count], found[count + 1:]
            key = None if key is None else next_iterations_key(key)
            trips += 1
        return {**dict(zip(outputs, state, strict=False)), outputs[-1]: np.int32(trips),
                **dict(zip(self.rows, histories.values(), strict=True))}


def _arrays(values: Sequence[Any]) -> list[Any]:
    """With arrays for numbers: those need not be converted when they are fed."""
    return [np.asarray(v) for v in values]


def _look(loop: Operation, values: Sequence[Tensor], indices: Sequence[Tensor]) -> list[Tensor]:
    """Whether a loop goes on from these values, and which rows its next iteration reads."""
    return [*inline(loop.cond, values), *inline(loop.body, values, outputs=indices)]


def _entry(t: Tensor) -> Tensor:
    """What a subgraph takes, as a feed of a graph of its own."""
    result: Tensor = program_input(kind="feed", label=t.op.name, type=t.type, name=t.op.name)
    return result
