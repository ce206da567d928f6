"""Eager mode: the same signature run by the oracle, one numpy call per operation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphflow.compiler import oracle
from graphflow.compiler.errors import InvalidArgumentError
from graphflow.compiler.ir.dims import Atom
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.rewrite import everywhere
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.passes.expand import expand
from graphflow.compiler.passes.prune import prune
from graphflow.compiler.program import Symbol
from graphflow.compiler.records import record
from graphflow.compiler.signature import Signature
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
    types = tuple(TensorType(t.dtype, a.shape) for t, a in zip(feeds, arrays, strict=True))
    pins = _integer_pins(feeds, arrays)
    pruned = prune(Signature(tuple(fetches), tuple(targets), tuple(feeds), types, pins))
    graph = everywhere(expand, pruned.graph)
    given: dict[Tensor, Array] = {}
    feed_values = iter(arrays)
    for t in graph.inputs:
        kind = t.op.kind
        given[t] = (next(feed_values) if kind == "feed" else np.array(key, np.uint32) if kind == "rng"
                    else store.read(t.op.variable))
    peak = 0

    def measure(op: Operation, values: Mapping[Tensor, Array]) -> None:
        nonlocal peak
        peak = max(peak, sum(v.nbytes for t, v in values.items() if t not in given))

    roots = [*graph.outputs, *graph.updates.values()]
    symbols = _enough_room(pruned.symbols, lambda guess: oracle.run(roots, given, measure, guess))
    start = time.perf_counter()
    results = oracle.run(roots, given, symbols=symbols)
    seconds = time.perf_counter() - start
    count = len(graph.outputs)
    return EagerResult(results[:count], dict(zip(graph.updates, results[count:], strict=True)), seconds, peak,
                       len(graph.operations) - len(graph.inputs))


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
    return tuple((f"{t.op.name}[{k}]", int(v)) for t, a in zip(feeds, arrays, strict=True)
                 if not t.dtype.is_floating and a.size <= 64 for k, v in enumerate(a.flat))
