"""The gradient of a loop: a second loop that runs the iterations backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.compiler.ir.dtypes import int32
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.regions import effects_of, inline
from graphflow.compiler.ir.registry import HOOKS, REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.core import cast, constant, identity, literal
from graphflow.compiler.ops.rows import row_at, row_store

Maybe = list[Tensor | None]


def loop_gradient(op: Operation, *outs: Tensor | None) -> Maybe:
    """Gradients of the initial values and of what the loop uses besides.

    Backwards over the iterations, with x the variables before one: a = J(x)^T a for the variables' gradients,
    and s = s + K(x)^T a for the captured tensors'. The body is computed again from x, which the forward loop
    keeps as `history`; a counter is known without. Random numbers are drawn again by the same keys.
    """
    return _Backward(op, outs).gradients()


class _Backward:
    def __init__(self, op: Operation, outs: Sequence[Tensor | None]) -> None:
        n, more = op.count, len(op.body.outputs)
        self.op, self.count = op, n
        self.initial, self.captured = op.operands[:n], op.operands[n:]
        self.last, self.rows, self.trips = op.outputs[:n], op.outputs[more:more + n], op.outputs[-1]
        self.keys = op.outputs[-2] if "random" in effects_of(op) else None
        self.g_last, self.g_collected, self.g_rows = outs[:n], outs[n:more], outs[more:more + n]
        self.active = _active(op, outs)
        self.used = [k for k, t in enumerate(self.captured) if t.dtype.is_floating]

    def gradients(self) -> Maybe:
        zeros = REGISTRY["zeros_like"]
        start = [zeros(self.last[k]) if self.g_last[k] is None else self.g_last[k] for k in self.active]
        sums = [zeros(self.captured[k]) for k in self.used]
        values: list[Any] = [self.trips, *start, *sums]
        found = HOOKS["make_loop"](lambda left, *_: left > 0, self._step, values, [t.type for t in values],
                                   self.op.graph, "gradient_loop", self.keys)
        result: Maybe = [None] * len(self.op.operands)
        for k, g in zip(self.active, found[1:], strict=False):
            result[k] = g
        for k, g in zip(self.used, found[1 + len(self.active):], strict=True):
            result[self.count + k] = g
        return result

    def _step(self, left: Tensor, *state: Tensor) -> list[Tensor]:
        """One iteration backwards: from what it gave to what it was given."""
        i = left - 1
        adjoint, sums = state[:len(self.active)], state[len(self.active):]
        before = [self._value(k, i) for k in range(self.count)]
        captured = [identity(t) for t in self.captured]
        after = inline(self.op.body, [*before, *captured])
        rows = [(y, row_at(g, i, checked=False))
                for y, g in zip(after[self.count:], self.g_collected, strict=True) if g is not None]
        ys = [*(after[k] for k in self.active), *(y for y, _ in rows)]
        xs = [*(before[k] for k in self.active), *(captured[k] for k in self.used)]
        grads: Maybe = HOOKS["gradients"](ys, xs, [*adjoint, *(g for _, g in rows)],
                                          stop=[*before, *captured])
        steps = [self._with_row(k, g, before[k], i) for k, g in zip(self.active, grads, strict=False)]
        more = [s if g is None else s + g for s, g in zip(sums, grads[len(steps):], strict=True)]
        return [i, *steps, *more]

    def _with_row(self, k: int, g: Tensor | None, like: Tensor, i: Tensor) -> Tensor:
        """The gradient through the body, and that of the variable's row in the history."""
        given = self.g_rows[k]
        if given is not None:
            row: Tensor = row_at(given, i, checked=False)
            return row if g is None else g + row
        result: Tensor = REGISTRY["zeros_like"](like) if g is None else g
        return result

    def _value(self, k: int, i: Tensor) -> Tensor:
        """A variable before iteration i."""
        body = self.op.body
        entry, after = body.inputs[k], body.outputs[k]
        step = counter_step(entry, after)
        first: Tensor = self.initial[k]
        if after is entry:
            same: Tensor = identity(first)
            return same
        if step is not None:
            count = i if first.dtype is int32 else cast(i, dtype=first.dtype)
            return first + count * literal(step, first.dtype)
        if _is_written_once(entry, after):
            return identity(self.last[k])  # type: ignore[no-any-return]
        row: Tensor = row_at(self.rows[k], i, checked=False)
        row.set_shape(entry.shape)
        return row


def _is_written_once(entry: Tensor, after: Tensor) -> bool:
    """Whether a variable is a tensor array, which at the end holds all that was ever read from it."""
    while after.op.opdef is row_store and after.op.once:
        after = after.op.x
        if after is entry:
            return True
    return False


def counter_step(entry: Tensor, after: Tensor) -> int | None:
    """The constant that an integer variable grows by in each iteration, else None."""
    op = after.op
    if not entry.dtype.is_integer or op.opdef.name not in ("add", "sub"):
        return None
    a, b = op.operands
    if op.opdef.name == "add" and b is entry:
        a, b = b, a
    if a is not entry or b.op.opdef is not constant or b.op.value.array.size != 1:
        return None
    step = int(b.op.value.array.ravel()[0])
    return step if op.opdef.name == "add" else -step


def _active(op: Operation, outs: Sequence[Tensor | None]) -> list[int]:
    """The float variables that a given gradient can reach, through any number of iterations."""
    n, body, more = op.count, op.body, len(op.body.outputs)
    reached = {k for k in range(n) if outs[k] is not None or outs[more + k] is not None}
    for k in range(n, more):
        reached |= _needs(body.outputs[k], body.inputs[:n]) if outs[k] is not None else set()
    floats = {k for k in range(n) if op.operands[k].dtype.is_floating}
    needs = {k: _needs(body.outputs[k], body.inputs[:n]) for k in floats}
    left = list(reached & floats)
    found = set(left)
    while left:
        for k in needs[left.pop()] & floats:
            if k not in found:
                found.add(k)
                left.append(k)
    return sorted(found)


def _needs(output: Tensor, inputs: Sequence[Tensor]) -> set[int]:
    """Which of a graph's inputs one of its outputs depends on."""
    seen = {output.op}
    stack = [output.op]
    while stack:
        for t in stack.pop().operands:
            if t.op not in seen:
                seen.add(t.op)
                stack.append(t.op)
    return {k for k, t in enumerate(inputs) if t.op in seen}
