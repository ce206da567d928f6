"""The text of graph-building errors: the rule, the values, each operand with the user's line, a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphflow.compiler.errors import DTypeError, ShapeError

if TYPE_CHECKING:
    from graphflow.compiler.ir.graph import Operation
    from graphflow.compiler.ir.tensor import Tensor


def shape_error(op: Operation, text: str, hint: str = "") -> ShapeError:
    error = ShapeError(describe(op, text, hint))
    error.op = op
    return error


def dtype_error(op: Operation, text: str, hint: str = "") -> DTypeError:
    return DTypeError(describe(op, text, hint))


def describe(op: Operation, text: str, hint: str = "") -> str:
    """
    matmul "m k, k n -> m n" (C1): k is 784 in a but 128 in b
      a  relu:0  f32[?,784]    made at train.py:14
      b  w2:0    f32[128,784]  made at train.py:9
    hint: transpose_b=True would fit
    """
    lines = [f"{op.attrs.get('called') or op.opdef.name} {text}".rstrip()]
    rows = [(label, t.name, str(t.type), location(t))
            for label, t in zip(labels(op), op.operands, strict=True)]
    widths = [max((len(r[k]) for r in rows), default=0) for k in range(3)]
    for row in rows:
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append(f"  {cells}  made at {row[3]}")
    lines.append(f"  in {op.name!r}, made at {op.source[0]}:{op.source[1]}")
    if hint:
        lines.append(f"hint: {hint}")
    return "\n".join(lines)


def labels(op: Operation) -> list[str]:
    """The operand names of an op record, numbered where the record takes any number of them."""
    params = op.opdef.params
    if op.opdef.variadic:
        return [f"{params[0]}[{i}]" for i in range(len(op.operands))]
    return list(params)


def location(t: Tensor) -> str:
    return f"{t.op.source[0]}:{t.op.source[1]}"
