"""The text of graph-building errors: the rule, the values, each operand with the user's line, a hint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from graphflow.compiler.errors import DTypeError, GraphflowError, ShapeError
from graphflow.compiler.ir.source import user_line

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
    lines = [f"{op.attrs.get('called') or op.opdef.name} {text}".rstrip(),
             *_rows(dict(zip(labels(op), op.operands, strict=True))),
             f"  in {op.name!r}, made at {op.source[0]}:{op.source[1]}", *_hints(hint)]
    return "\n".join(lines)


def misfit(function: str, text: str, kind: type[GraphflowError] = ShapeError, hint: str = "",
           operands: Mapping[str, Tensor] | None = None) -> GraphflowError:
    """The error of a call whose arguments are no good, and which makes no operation."""
    file, line = user_line()
    return kind("\n".join([f"{function}: {text}" if function else text, *_rows(operands or {}),
                           f"  called at {file}:{line}", *_hints(hint)]))


def check_dims(op: Operation, results: Iterable[Tensor]) -> None:
    """
    one_hot would give f32[2,-1], with a dim below 0: depth is -1
    """
    for t in results:
        if any(isinstance(d, int) and d < 0 for d in t.type.dims or ()):
            given = (f": {k} is {as_given(op.attrs[k])}" for k in op.opdef.dim_attrs
                     if _holds_negative(op.attrs[k]))
            raise shape_error(op, f"would give {t.type}, with a dim below 0{next(given, '')}")


def _holds_negative(value: object) -> bool:
    return any(isinstance(v, int) and v < 0 for v in (value if isinstance(value, tuple) else (value,)))


def as_given(value: object) -> object:
    """An attribute as a user writes it: lists for tuples."""
    return [as_given(v) for v in value] if isinstance(value, tuple) else value


def _rows(operands: Mapping[str, Tensor]) -> list[str]:
    """A line for each operand, in columns."""
    rows = [(label, t.name, str(t.type), location(t)) for label, t in operands.items()]
    widths = [max((len(r[k]) for r in rows), default=0) for k in range(3)]
    cells = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows)
    return [f"  {text}  made at {row[3]}" for text, row in zip(cells, rows, strict=True)]


def _hints(hint: str) -> list[str]:
    return [f"hint: {hint}"] if hint else []


def labels(op: Operation) -> list[str]:
    """The operand names of an op record, numbered where the record takes any number of them."""
    params = op.opdef.params
    if op.opdef.variadic:
        return [f"{params[0]}[{i}]" for i in range(len(op.operands))]
    return list(params)


def location(t: Tensor) -> str:
    return f"{t.op.source[0]}:{t.op.source[1]}"
