"""lower_dtypes: float16 and bfloat16 are stored as such and computed in float32.

Products read narrow operands as they are, and give wider sums: see `codegen.gemm.terms`.
"""

from __future__ import annotations

from graphflow.compiler.ir.dims import axis
from graphflow.compiler.ir.dtypes import bfloat16, float16, float32
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import rebuild
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.expr import Expr, Index, temp, walk
from graphflow.compiler.loops.forms import Contraction, Indexed, Join, Row
from graphflow.compiler.ops.core import cast, constant, program_input

_HALF = (float16, bfloat16)


def lower_dtypes(graph: Graph) -> Graph:
    """Put casts around operations on half types that do arithmetic; moving elements needs none, and what is
    expanded `late` sees to it there.

    Example:  %1 = add(x, y) : f16[4]
    -->       %1 = cast(x, f32) ; %2 = cast(y, f32) ; %3 = add(%1, %2) ; %4 = cast(%3, f16) : f16[4]

    Example:  %1 = matmul(x, y) : i8[4,4]
    -->       %1 = matmul(x, y, output_type=int32) : i32[4,4] ; %2 = cast(%1, i8) : i8[4,4]
    """
    if not any(t.dtype.sums is not t.dtype for op in graph.operations for t in op.outputs):
        return graph
    return rebuild(graph, _lower_one)


def _lower_one(graph: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    if op.opdef in (program_input, constant, cast) or op.opdef.late or not _computes(op):
        return None
    if "output_type" in op.attrs and isinstance(op.opdef.lower, Contraction):
        return _with_sums(graph, op, operands)
    if not any(t.dtype in _HALF for t in (*operands, *op.outputs)):
        return None
    wide = tuple(cast(t, dtype=float32) if t.dtype in _HALF else t for t in operands)
    attrs = {k: float32 if v in _HALF else v for k, v in op.attrs.items()}
    result = graph.append_copy(op, wide, attrs).outputs[0]
    if result.dtype is op.out.dtype:
        return result
    narrowed: Tensor = cast(result, dtype=op.out.dtype)
    return narrowed


def _with_sums(graph: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """A product with sums wide enough, cast to what is asked for."""
    sums, wanted = op.out.dtype.sums, op.out.dtype
    if sums is wanted:
        return None
    wide: Tensor = graph.append_copy(op, operands, {**op.attrs, "output_type": sums}).outputs[0]
    narrow: Tensor = cast(wide, dtype=wanted)
    return narrow


def _computes(op: Operation) -> bool:
    """Whether an operation does arithmetic. A composite may: its inner sums must not be rounded."""
    if op.opdef.regions:
        return False
    if op.opdef.lower is None:
        return len(op.outputs) == 1
    return not (op.opdef.lower.cheap or isinstance(op.opdef.lower, Join) or _moves(op))


def _moves(op: Operation) -> bool:
    """Whether each element of the result is an operand's, or a constant."""
    form, values = op.opdef.lower, list[Expr]()
    if not isinstance(form, (Indexed, Row)):
        return False

    def load(k: int, index: Index, mask: Expr | None = None) -> Expr:
        return temp(f"operand{k}", op.operands[k].dtype)

    def let(value: Expr) -> Expr:
        values.append(value)
        return temp(f"let{len(values)}", value.dtype)

    at = tuple(axis(f"i{k}", d) for k, d in enumerate(op.out.type.known_dims))
    values.append(form.value(op, at, load, let))
    nodes = (n for v in values for n in walk(v))
    return all(n.dtype not in _HALF or n.op in ("temp", "const", "select") for n in nodes)
