"""sparse: an update of few rows of a table changes those rows alone."""

from __future__ import annotations

from collections.abc import Callable

from graphflow.compiler.ir.dims import Dim, product
from graphflow.compiler.ir.dtypes import int64
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.rewrite import rebuild
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.forms import Pointwise
from graphflow.compiler.ops.core import cast, program_input
from graphflow.compiler.ops.gathering import gather, scatter_sum
from graphflow.compiler.ops.joining import concat
from graphflow.compiler.ops.nn import check_index
from graphflow.compiler.ops.rules import normal_axis
from graphflow.compiler.ops.shapes import reshape
from graphflow.compiler.ops.tables import add_rows, rows_at, same_row, sum_rows
from graphflow.compiler.records import record


@record
class Rows:
    """A tensor of zeros to whose row ids[i] values[i] is added.

    Shapes:  values [n, ...], ids int64 [n], known to be valid
    `distinct` when no row gets two values that are not 0.
    """

    values: Tensor
    ids: Tensor
    size: Dim
    distinct: bool = False

    @property
    def dims(self) -> tuple[Dim, ...]:
        """The shape of the tensor."""
        return (self.size, *self.values.type.known_dims[1:])


Operand = Rows | Tensor
Rule = Callable[[Operation, "list[Operand]"], "Operand | None"]


def sparse(graph: Graph) -> Graph:
    """Follow sums over rows (the gradients of gathers) through linear maps into the update of a variable.

    Example:  %g = scatter_sum(u, ids, size=9) ; %s = mul(%g, 0.1) ; w := sub(w, %s)
    -->       %i = check_index(ids, extent=9) ; %v = neg(mul(u, 0.1)) ; w := add_rows(%v, %i, w)

    Rows that no index names stay as they are, bit for bit. Duplicates among the indices are added up first
    where a map is not linear, such as the square in Adagrad.
    """
    if not any(op.opdef is scatter_sum for op in graph.operations):
        return graph
    summed_at = {op.indices for op in graph.operations if op.opdef is scatter_sum}
    known: dict[Tensor, Rows] = {}
    summed: dict[Rows, Rows] = {}

    def rule(new: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
        if op.opdef.effect or len(op.outputs) != 1:
            return None
        if op.opdef is gather and op.indices in summed_at:
            return _checked_first(op, operands)
        given: list[Operand] = [known.get(t, n) for t, n in zip(op.operands, operands, strict=True)]
        if op.opdef is not scatter_sum and not any(isinstance(x, Rows) for x in given):
            return None
        if op.opdef.name in _NEED_SUMS:
            given = [_summed(x, summed) if isinstance(x, Rows) else x for x in given]
        for r in RULES.get(op.opdef.name, ()):
            result = r(op, given)
            if isinstance(result, Tensor):
                return result
            if result is not None and result.dims == op.out.type.known_dims:
                known[op.out] = result
                return _whole(op, result) if r is _added else None
        return None

    return rebuild(graph, rule)


# Where rows come from

def _valid(op: Operation, indices: Tensor, size: Dim) -> Tensor:
    """The indices in one dimension, checked by a kernel of its own, before any variable is changed."""
    n = product(indices.type.known_dims)
    checked = check_index(reshape(indices, shape=(n,)), extent=size, name=op.name)
    result: Tensor = cast(checked, dtype=int64)
    return result


def _checked_first(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """A gather whose gradient is taken: one check serves both. (An empty table has no row 0 to stand in.)"""
    params, indices = operands
    dims = params.type.known_dims
    if normal_axis(op, op.axis, len(dims)) != 0 or not isinstance(dims[0], int) or dims[0] < 1:
        return None
    ids = reshape(_valid(op, indices, dims[0]), shape=indices.type.known_dims)
    result: Tensor = rows_at(params, ids)
    return result


def _from_scatter(op: Operation, given: list[Operand]) -> Operand | None:
    updates, indices = given
    if isinstance(updates, Rows) or isinstance(indices, Rows):
        return None
    if normal_axis(op, op.axis, len(op.out.type.known_dims)) != 0:
        return None
    n = product(indices.type.known_dims)
    values = reshape(updates, shape=(n, *op.out.type.known_dims[1:]))
    return Rows(values, _valid(op, indices, op.size), op.size)


# What maps rows to rows

def _each(op: Operation, given: list[Operand]) -> Operand | None:
    """f(rows) of one operand"""
    (x,) = given
    assert isinstance(x, Rows)
    values = op.opdef(x.values, **op.attrs)
    return Rows(values, x.ids, x.size, x.distinct)


def _scaled(op: Operation, given: list[Operand]) -> Operand | None:
    """rows * y, y * rows, rows / y: by a number, or by what another tensor has in the same rows"""
    x, y = given
    if isinstance(x, Rows) and isinstance(y, Rows):
        return None
    if isinstance(x, Rows) and isinstance(y, Tensor):
        factor = _at_rows(op, y, x)
        return None if factor is None else Rows(op.opdef(x.values, factor), x.ids, x.size, x.distinct)
    if op.opdef.name != "mul" or not isinstance(y, Rows) or not isinstance(x, Tensor):
        return None
    factor = _at_rows(op, x, y)
    return None if factor is None else Rows(op.opdef(factor, y.values), y.ids, y.size, y.distinct)


def _at_rows(op: Operation, t: Tensor, rows: Rows) -> Tensor | None:
    """The rows of a dense operand, or the operand itself where it is the same for all rows.

    Functions of each element are computed of the rows: the square root of a table is not needed whole.
    """
    dims, rank = t.type.known_dims, len(op.out.type.known_dims)
    if len(dims) < rank or (len(dims) == rank and dims[0] == 1):
        return t
    if len(dims) > rank or dims[0] != rows.size:
        return None
    maps: list[Operation] = []
    while isinstance(t.op.opdef.lower, Pointwise) and len(t.op.operands) == 1:
        maps.append(t.op)
        (t,) = t.op.operands
    result: Tensor = rows_at(t, rows.ids)
    for m in reversed(maps):
        result = m.opdef(result, **m.attrs)
    return result


def _added(op: Operation, given: list[Operand]) -> Operand | None:
    """rows + rows, and rows - rows"""
    parts = [x for x in given if isinstance(x, Rows)]
    if len(parts) < len(given) or any(p.dims != op.out.type.known_dims for p in parts):
        return None  # an operand is broadcast
    values = [p.values for p in parts]
    if op.opdef.name == "sub":
        values[1] = -values[1]
    return Rows(concat(*values, axis=0), concat(*(p.ids for p in parts), axis=0), parts[0].size)


def _whole(op: Operation, x: Rows) -> Tensor:
    """All of the tensor, for those that need it: one table of zeros where each term had one."""
    result: Tensor = sum_rows(x.values, x.ids, size=x.size)
    return result


def _summed(x: Rows, known: dict[Rows, Rows]) -> Rows:
    """The same, with all that goes to one row in one place."""
    if x.distinct:
        return x
    if x not in known:
        n = x.ids.type.known_dims[0]
        values = sum_rows(x.values, same_row(x.ids, size=x.size), size=n)
        known[x] = Rows(values, x.ids, x.size, distinct=True)
    return known[x]


# Where rows go

def _into_variable(op: Operation, given: list[Operand]) -> Operand | None:
    """w + rows, rows + w, w - rows, w being a variable: only these rows change"""
    base, rows = given if isinstance(given[1], Rows) else reversed(given)
    if not isinstance(rows, Rows) or not isinstance(base, Tensor) or not _is_state(base):
        return None
    if op.opdef.name == "sub" and base is not given[0]:
        return None
    if base.type != op.out.type or rows.dims != op.out.type.known_dims:
        return None  # an operand is broadcast
    values = -rows.values if op.opdef.name == "sub" else rows.values
    result: Tensor = add_rows(values, rows.ids, base)
    return result


def _is_state(t: Tensor) -> bool:
    return t.op.opdef is program_input and t.op.kind == "state"


def _whole_sum(op: Operation, given: list[Operand]) -> Operand | None:
    """The sum of all elements, as for a norm."""
    (x,) = given
    if not isinstance(x, Rows) or op.out.type.known_dims or op.keepdims:
        return None
    result: Tensor = REGISTRY["reduce_sum"](x.values)
    return result


_NEED_SUMS = ("square",)
RULES: dict[str, tuple[Rule, ...]] = {
    "scatter_sum": (_from_scatter,),
    "neg": (_each,), "square": (_each,),
    "mul": (_scaled,), "truediv": (_scaled,), "realdiv": (_scaled,), "div": (_scaled,),
    "add": (_added, _into_variable), "sub": (_added, _into_variable), "add_n": (_added,),
    "reduce_sum": (_whole_sum,),
}
