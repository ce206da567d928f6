"""What tf.einsum asks of its operands: axes with one letter have one dim."""

from __future__ import annotations

from typing import Any

from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ops.samples import Sample


def _types(op: Operation) -> tuple[TensorType, ...]:
    found: dict[str, tuple[Any, int]] = {}  # of each letter the dim, and an operand that has it
    for k, (t, labels) in enumerate(zip(op.operands, op.sides.split(","), strict=True)):
        for label, d in zip(labels, t.type.dims or (), strict=True):
            found[label] = _common(op, label, *found.get(label, (d, k)), d, k)
    return tuple(t.type for t in op.operands)


def _common(op: Operation, label: str, before: Any, first: int, d: Any, k: int) -> tuple[Any, int]:
    rules = op.graph.rules
    try:
        dim = rules.broadcast(before, d) if label.isdigit() else rules.equal(before, d)
    except ValueError:
        what = "an axis of ..." if label.isdigit() else label
        a, b = op.operands[first].name, op.operands[k].name
        raise shape_error(op, f"{op.equation!r}: {what} is {before} in operand {first}, {a}, "
                              f"but {d} in operand {k}, {b}") from None
    return dim, k if before == 1 else first


einsum: OpDef = OpDef(
    "einsum", "*operands", infer=_types, attrs={"equation": REQUIRED, "sides": REQUIRED},
    grad=lambda op, *gs: gs, numpy=lambda *arrays, **attrs: list(arrays), expand=lambda op: op.operands,
    doc="The operands unchanged; `sides` has a letter for each axis, and a digit for those that broadcast.",
    samples=(Sample(((2, 3), (3, 4)), {"equation": "ij,jk", "sides": "ij,jk"}),
             Sample(((1, 3), (2, 3)), {"equation": "...,...", "sides": "10,10"})))
