"""Whether a loop can be left to stages: all that they compute apart must be the same as in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.regions import all_operations
from graphflow.compiler.ir.rewrite import ancestors
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.control import while_loop
from graphflow.compiler.ops.rows import is_open, row_at

if TYPE_CHECKING:
    from graphflow.compiler.passes.prune import Pruner


def may_leave(pruner: Pruner, loop: Operation) -> bool:
    """Whether the loop, and those that take its histories, need nothing that the run writes and have results
    of which programs can do the rest.
    """
    s = pruner.signature
    needed = ancestors(s.fetches, s.given, s.targets)
    if s.asks or pruner.graph is not pruner.whole or loop not in needed:
        return False
    histories = set(histories_of(loop))
    users = [op for op in needed if not histories.isdisjoint((*op.operands, *op.dim_deps))]
    return all(
        op.opdef is while_loop and _takes_rows_only(op, histories) for op in users) and all(
        _can_be_apart(pruner, op) for op in (loop, *users))


def histories_of(loop: Operation) -> tuple[Tensor, ...]:
    """The tensors with a variable's value before each iteration, and that with the keys."""
    return loop.outputs[len(loop.body.outputs):-1]


def _can_be_apart(pruner: Pruner, loop: Operation) -> bool:
    """Whether a loop waits for no write, and what comes after it needs last values and histories alone."""
    s = pruner.signature
    known = [pruner.mapping[t] for t in loop.operands if t in pruner.mapping and t not in s.kept]
    if pruner.before.get(loop) or any(op.opdef.effect == "random" for op in all_operations(loop.cond)):
        return False
    if any(is_open(t) or t in pruner.histories for t in known):
        return False
    after = ancestors(s.fetches, (*s.given, *loop.outputs), s.targets)
    used = {*s.fetches, *(t for op in after for t in (*op.operands, *op.dim_deps))}
    return loop not in after and used.isdisjoint(loop.outputs[loop.count:len(loop.body.outputs)])


def _takes_rows_only(loop: Operation, histories: set[Tensor]) -> bool:
    """Whether a loop's body reads histories row by row, and nothing else does anything with them."""
    places = [k for k, t in enumerate(loop.operands) if t in histories]
    if places[0] < loop.count:
        return False
    entries = {graph.inputs[k] for k in places for graph in (loop.cond, loop.body)}
    users = [op for graph in (loop.cond, loop.body) for op in graph.operations
             if not entries.isdisjoint((*op.operands, *op.dim_deps))]
    return all(op.opdef is row_at and op.graph is loop.body and
               entries.isdisjoint(t for o in ancestors([op.index]) for t in o.outputs) for op in users)
