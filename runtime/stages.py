"""Stages: a run with a loop whose variables change their shape.

What comes before the loop is one program, an iteration another, what comes after it a third. That of an
iteration is compiled once, for any sizes, and runs again and again: planning for new sizes takes a fraction
of a millisecond, where each iteration as a part of one program would have to be compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.regions import inline
from graphflow.compiler.ir.rewrite import ancestors
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.core import program_input
from graphflow.compiler.signature import Signature

if TYPE_CHECKING:
    from graphflow.runtime.engine import Engine
    from graphflow.runtime.executable import Executable



class Stages:
    """Call it with the feeds; it gives the fetches' values."""

    def __init__(self, engine: Engine, signature: Signature, loop: Operation) -> None:
        self._count, self._operands = loop.count, len(loop.operands)
        results, shared = loop.outputs[:loop.count], _shared(signature, loop)
        feeds = signature.feeds
        self._before = engine.prepare([*loop.operands, *shared], [], feeds)
        self._after = engine.prepare(signature.fetches, signature.targets, [*feeds, *results, *shared])
        graph = Graph()
        with graph.as_default():
            entries = _entries(loop.body)
            following = inline(loop.body, entries)[:loop.count]
            again, = inline(loop.cond, [*following, *entries[loop.count:]])
            start = _entries(loop.cond)
            test, = inline(loop.cond, start)
        self._test = engine.prepare([test], [], start)
        self._step = engine.prepare([*following, again], [], entries)

    def __call__(self, feeds: Sequence[Any]) -> list[Any]:
        found = self._before(*feeds)
        state, captured = found[:self._count], found[self._count:self._operands]
        again, = self._test(*state, *captured)
        while again:
            *state, again = self._step(*state, *captured)
        return self._after(*feeds, *state, *found[self._operands:])

    @property
    def parts(self) -> list[Executable]:
        """The stages."""
        return [self._before, self._test, self._step, self._after]


def _entries(graph: Graph) -> list[Tensor]:
    """What a subgraph takes, as the feeds of a graph of its own."""
    return [program_input(kind="feed", label=t.op.name, type=t.type, name=t.op.name) for t in graph.inputs]


def _shared(signature: Signature, loop: Operation) -> list[Tensor]:
    """What is computed before the loop and used after it, but for its results."""
    given = {*signature.feeds, *loop.outputs}
    before = {op for op in ancestors(loop.operands, signature.feeds) if op.operands}
    after = [op for op in ancestors(signature.fetches, given, signature.targets) if op not in before]
    used = [*signature.fetches, *(t for op in after for t in (*op.operands, *op.dim_deps))]
    return [t for t in dict.fromkeys(used) if t.op in before and t not in given]
