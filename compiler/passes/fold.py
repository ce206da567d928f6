"""fold: what is known before the run is computed now, by the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler import oracle
from graphflow.compiler.errors import GraphflowError
from graphflow.compiler.ir.convert import Literal
from graphflow.compiler.ir.dims import Poly
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import rebuild
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.core import constant
from graphflow.compiler.ops.rows import blank
from graphflow.compiler.ops.symbolic import symbolic_value

_GROWTH_ALLOWED = 4096  # bytes: a large fill stays an op, which a kernel computes for nothing


def fold(graph: Graph) -> Graph:
    """Replace operations on constants, and shapes that turned out static, by constants.

    Example:  %0 = constant(2.0) ; %1 = sqrt(%0) ; %2 = mul(x, %1)
    -->       %1 = constant(1.4142135) ; %2 = mul(x, %1)
    """
    return rebuild(graph, _fold_one)


def _fold_one(graph: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    if op.opdef.effect or op.opdef.regions or len(op.outputs) != 1 or op.opdef in (constant, blank):
        return None
    if not op.out.type.is_static:
        return None
    if op.opdef.symbolic and not all(t.op.opdef is constant for t in operands):
        return _known_shape(op)
    if not all(t.op.opdef is constant for t in operands) or op.opdef.numpy is None or has_symbols(op):
        return None
    given = [t.op.value.array for t in operands]
    size: Any = op.out.type.size
    if size * op.out.dtype.size > max(_GROWTH_ALLOWED, *(2 * a.nbytes for a in given), 0):
        return None
    try:
        value, = oracle.evaluate_operation(op, dict(zip(op.operands, given, strict=True)))
    except (GraphflowError, ValueError, IndexError):
        return None  # the run will report it
    result: Tensor = constant(value=Literal(value))
    return result


def has_symbols(op: Operation) -> bool:
    """Whether an attribute is made of dims that only the run tells."""
    return any(isinstance(d, Poly) for key in op.opdef.dim_attrs for d in _flat(op.attrs[key]))


def _flat(value: Any) -> Any:
    return value if isinstance(value, tuple) else (value,)


def _known_shape(op: Operation) -> Tensor | None:
    value = symbolic_value(op.out) if op.out.dtype.is_integer else None
    if value is None or any(isinstance(d, Poly) for d in np.ravel(value)):
        return None
    result: Tensor = constant(value=Literal(np.asarray(value, dtype=op.out.dtype.numpy)))
    return result
