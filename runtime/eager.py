"""Eager mode: the same signature run by the oracle, one numpy call per operation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphflow.compiler import oracle
from graphflow.compiler.errors import InvalidArgumentError
from graphflow.compiler.ir.dims import Atom
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import everywhere
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.passes.expand import expand
from graphflow.compiler.passes.prune import Pruned, feed_name, prune
from graphflow.compiler.program import Symbol
from graphflow.compiler.records import record
from graphflow.compiler.signature import Growing, Signature, Undecided
from graphflow.runtime.stages import Stages
from graphflow.runtime.variables import VariableStore

Array = np.ndarray[Any, Any]
_MOST_ROWS = 1 << 24


@record
class EagerResult:
    """Values of the fetches, the variables' new values, seconds, most bytes alive at once, operations run."""

    values: list[Array]
    updates: Mapping[VariableHandle, Array]
    seconds: float
    peak_bytes: int
    operations: int


def run_eagerly(fetches: Sequence[Tensor], targets: Sequence[Operation], feeds: Sequence[Tensor],
                arrays: Sequence[Array], store: VariableStore,
                key: Sequence[int] = (0, 0, 0, 0)) -> EagerResult:
    """Run a signature op by op. The store is read and not written."""
    run = _Run(store, key)
    values = run.prepare(fetches, targets, feeds)(*arrays)
    return EagerResult(values, run.updates, run.seconds, run.peak_bytes, run.operations)


class _Run:
    """What the parts of an eager run add up to: of one in stages, there are several."""

    def __init__(self, store: VariableStore, key: Sequence[int]) -> None:
        self.store = store
        self.key = np.array(key, np.uint32)
        self.updates: dict[VariableHandle, Array] = {}
        self.seconds = 0.0
        self.peak_bytes = 0
        self.operations = 0

    def prepare(self, fetches: Sequence[Tensor], targets: Sequence[Operation], feeds: Sequence[Tensor],
                kept: Sequence[Tensor] = ()) -> Callable[..., list[Array]]:
        """A function of the feeds, of the rows of the histories in `kept`, and of a random key."""
        def call(*values: Any, rows: Sequence[Any] = (), key: Any = None) -> list[Array]:
            key = self.key if key is None else key
            arrays = [np.asarray(v) for v in values]
            types = tuple(TensorType(t.dtype, a.shape) for t, a in zip(feeds, arrays, strict=True))
            signature = Signature(tuple(fetches), tuple(targets), tuple(feeds), types,
                                  _integer_pins(feeds, arrays), kept=tuple(kept))
            try:
                pruned = _pruned(signature, lambda graph: self._inputs(graph, arrays, key))
            except Growing as e:
                return Stages(self.prepare, e.signature, e.loop)(arrays, rows, key)
            return self._run(pruned, arrays, key)

        return call

    def _inputs(self, graph: Graph, arrays: Sequence[Array], key: Array) -> dict[Tensor, Array]:
        values = iter(arrays)
        return {t: next(values) if t.op.kind == "feed" else key if t.op.kind == "rng"
                else self.store.read(t.op.variable) for t in graph.inputs}

    def _run(self, pruned: Pruned, arrays: Sequence[Array], key: Array) -> list[Array]:
        graph = everywhere(expand, pruned.graph)
        given = self._inputs(graph, arrays, key)
        roots = [*graph.outputs, *graph.updates.values()]

        def measure(op: Operation, values: Mapping[Tensor, Array]) -> None:
            alive = sum(v.nbytes for t, v in values.items() if t not in given)
            self.peak_bytes = max(self.peak_bytes, alive)

        symbols = _enough_room(pruned.symbols, lambda guess: oracle.run(roots, given, measure, guess))
        start = time.perf_counter()
        results = oracle.run(roots, given, symbols=symbols)
        self.seconds += time.perf_counter() - start
        count = len(graph.outputs)
        self.updates.update(zip(graph.updates, results[count:], strict=True))
        self.operations += len(graph.operations) - len(graph.inputs)
        return results[:count]


def _pruned(signature: Signature, inputs: Callable[[Graph], dict[Tensor, Array]]) -> Pruned:
    """The signature as a graph; what a run computes and a shape depends on is computed first."""
    while True:
        try:
            return prune(signature)
        except Undecided as e:
            new = []
            for a in e.atoms:
                graph = everywhere(expand, prune(replace(signature, asks=a.name)).graph)
                new.append((a.name, int(oracle.run(graph.outputs, inputs(graph))[0])))
            signature = replace(signature, pins=(*signature.pins, *new))


def _enough_room(symbols: Mapping[Atom, Symbol], run: Callable[[dict[Atom, int]], Any]) -> dict[Atom, int]:
    """Run with ever more room for the iterations of loops without a limit; gives what was enough."""
    rows = 1024
    while True:
        guess = {a: rows for a, s in symbols.items() if s.room}
        try:
            run(guess)
            return guess
        except InvalidArgumentError:
            if not guess or rows > _MOST_ROWS:
                raise
            rows *= 8


def _integer_pins(feeds: Sequence[Tensor], arrays: Sequence[Array]) -> tuple[tuple[str, int], ...]:
    """Every short integer or bool feed's elements, for shapes that depend on them."""
    return tuple((f"{feed_name(t)}[{k}]", int(v)) for t, a in zip(feeds, arrays, strict=True)
                 if not t.dtype.is_floating and a.size <= 64 for k, v in enumerate(a.flat))
