"""GRAPHFLOW_CHECK=1: the oracle runs after each graph pass, and a changed result names the pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphflow.compiler import oracle
from graphflow.compiler.errors import GraphflowError
from graphflow.compiler.ir.dims import Atom, evaluate
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.graph import Graph
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.unify import CompileRules
from graphflow.compiler.program import Symbol

Array = np.ndarray[Any, Any]
_MOST_BYTES = 1 << 26  # larger inputs are not worth checking at each pass
_ROOM = 1000  # iterations that a loop without a limit may run
_TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


class PassChangedResult(AssertionError):
    """A pass gave a graph that computes something else."""


class Checker:
    """Holds the inputs and the results of the graph as it was before the first pass."""

    def __init__(self, graph: Graph, symbols: Mapping[Atom, Symbol]) -> None:
        self.values: dict[Atom, int] = {a: 3 + k for k, a in enumerate(symbols)}
        rng = np.random.default_rng(0)
        feeds = [t for t in graph.inputs if t.op.kind == "feed"]
        for a, s in symbols.items():
            if s.element is not None:
                self.values[a] = 2
            elif s.room:
                self.values[a] = _ROOM
        self.inputs = [self._array(t, rng) for t in graph.inputs]
        for a, s in symbols.items():
            if s.element is not None:
                self.inputs[graph.inputs.index(feeds[s.feed])].flat[s.element] = self.values[a]
        self.expected = self._expected(graph)

    def _array(self, t: Tensor, rng: np.random.Generator) -> Array:
        shape = [evaluate(d, self.values) for d in t.type.known_dims]
        return sample_array(t.dtype, shape, rng)

    def _expected(self, graph: Graph) -> list[Array] | None:
        """The results of the graph as pruned; None where these inputs are too large, or not legal for it."""
        if sum(a.nbytes for a in self.inputs) > _MOST_BYTES:
            return None
        try:
            return self._results(graph)
        except (GraphflowError, ValueError, IndexError):
            return None

    def _results(self, graph: Graph, origins: Sequence[Tensor] = ()) -> list[Array]:
        roots = [*graph.outputs, *graph.updates.values()]
        count = len(self.inputs)
        held = oracle.run(origins[count:], dict(zip(origins[:count], self.inputs, strict=False)))
        given = dict(zip(graph.inputs, [*self.inputs, *held], strict=True))
        return oracle.run(roots, given, symbols=self.values)

    def check(self, graph: Graph, pass_name: str, origins: Sequence[Tensor] = ()) -> None:
        """Raise PassChangedResult when the graph's results differ from those before the first pass.

        origins  where there are more inputs now: all of them as tensors of the graph before
        """
        if self.expected is None or not self._fits(graph):
            return
        try:
            results = self._results(graph, origins)
        except (GraphflowError, ValueError) as e:
            raise PassChangedResult(f"pass {pass_name!r} made a graph that does not run: {e}\n{graph}") from e
        for t, a, b in zip([*graph.outputs, *graph.updates.values()], self.expected, results, strict=True):
            if not close(a, b, t.dtype):
                raise PassChangedResult(
                    f"pass {pass_name!r} changed {t.name} ({t.type}): was {a!r}, is {b!r}\n{graph}")

    def _fits(self, graph: Graph) -> bool:
        """Whether these dims keep the rules of ops that passes made: else no run would come that far."""
        rules = graph.rules
        if not isinstance(rules, CompileRules):
            return True
        assumed = [(self.values[a], d) for a, d in rules.assumed.items() if a in self.values]
        pairs = [*rules.required, *assumed]
        return all(evaluate(a, self.values) == evaluate(b, self.values) for a, b in pairs)


def sample_array(dtype: DType, shape: list[int], rng: np.random.Generator) -> Array:
    """Seeded values: floats in (0.1, 2), small integers, booleans."""
    if dtype.is_floating:
        return rng.uniform(0.1, 2.0, shape).astype(dtype.numpy)
    return rng.integers(0, 2, shape).astype(dtype.numpy)


def close(a: Array, b: Array, dtype: DType) -> bool:
    """Whether results are equal but for rounding: a sum's is in proportion to its terms, which may cancel."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not dtype.is_floating:
        return bool(np.array_equal(a, b))
    tolerance, x, y = _TOLERANCE[dtype.name], a.astype(np.float64), b.astype(np.float64)
    size = np.sqrt(np.mean(np.square(x, where=np.isfinite(x), out=np.zeros_like(x)))) if x.size else 0.0
    return bool(np.allclose(x, y, rtol=tolerance, atol=tolerance * max(1.0, size), equal_nan=True))
