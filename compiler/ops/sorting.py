"""Orders: sorting along the last axis, the k largest, and elements by a position along the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import Dim, axis, product
from graphflow.compiler.ir.dtypes import bool_, int32, int64
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load, Scatter, Serial, Workspace
from graphflow.compiler.loops.nest import Let as Name
from graphflow.compiler.loops.nest import Stmt, Store, loop_over
from graphflow.compiler.ops import radix
from graphflow.compiler.ops.indexing import slice_
from graphflow.compiler.ops.rules import check_kind, equal_dims, open_dims, require_within, single
from graphflow.compiler.ops.samples import Sample, shapes
from graphflow.compiler.ops.shapes import dim_of, reshape

MOST_BY_INSERTION = 64  # the largest k for which elements are inserted one by one


def _before(op: Operation, a: E.Expr, b: E.Expr) -> E.Expr:
    """Whether a must come before an equal or later b: NaN comes last."""
    first = a > b if op.descending else a < b
    return first | (E.isnan(b) & ~E.isnan(a)) if a.dtype.is_floating else first


def _key_numpy(x: Any, descending: bool) -> Any:
    """Numbers whose ascending order is the one wanted; ties are left to a stable sort."""
    if not descending:
        return x
    return -x if x.dtype.kind not in "iu" else ~x


# order_rows

def _order_type(op: Operation) -> TensorType:
    check_kind(op, "number")
    dims = op.rows.type.dims
    if dims is not None and len(dims) != 2:
        raise shape_error(op, f"(C1): rows have two axes, but {op.rows.name} is {op.rows.type}")
    return TensorType(int32, dims)


def _order_numpy(rows: Any, descending: bool) -> Any:
    return np.argsort(_key_numpy(rows, descending), axis=-1, kind="stable").astype(np.int32)


_TIES = np.array([[3, 1, 3, 2, 1], [0, 0, 0, -5, 7]], np.int32)
_NANS = np.array([[1, np.nan, -np.inf, 3, np.nan, np.inf, -0.0, 0.0]], np.float32)
_FAR = np.array([[-2**63, 2**63 - 1, 0, -1, 2**32, 1, -2**31 - 1, 2**32 + 1, -1]], np.int64)
order_rows = OpDef(
    "order_rows", "rows", infer=_order_type, attrs={"descending": False}, lower=Serial(radix.order_by_digits),
    numpy=_order_numpy, grad=lambda op, g: None,
    doc="For each row the positions of its elements in order; equal ones stay as they are, NaN comes last.",
    samples=tuple(Sample((x,), {"descending": down}, smooth=False) for down in (False, True) for x in (
        _TIES, _NANS, (3, 37), (2, 1), (0, 4), (2, 0), (1, 64), _TIES.astype(np.uint8), _FAR,
        _NANS.astype(np.float64), np.tile(_FAR, 30))))


# largest_of_rows: the k first in descending order, without sorting the rest

def _largest_type(op: Operation) -> TensorType:
    rows = _order_type(op)
    k, = open_dims((op.k,))
    if rows.dims is None:
        return TensorType(int32, (None, k))
    try:
        require_within(op, 0, k, rows.dims[1])
    except ValueError:
        raise shape_error(op, f"(C2): rows of {rows.dims[1]} elements do not have {k} largest ones") from None
    return TensorType(int32, (rows.dims[0], k))


def _largest_steps(op: Operation, work: Workspace) -> list[Stmt]:
    """An element that comes before the last of the best so far takes its place, and moves up to its own."""
    rows, n = op.rows.type.known_dims
    best = work.scratch(int32, op.k + 1)  # positions; the last is that of an element that does not enter
    r, j, k = axis("r", rows), axis("j", n), axis("k", op.k)
    copy = loop_over(k, [work.store((r, k), E.load(best, k, int32))], ordered=False)
    return [loop_over(r, [loop_over(j, _enter(op, work, best, r, j)), copy])]


def _enter(op: Operation, work: Workspace, best: str, r: Dim, j: Dim) -> list[Stmt]:
    count = E.index(op.k)
    full, last, worst, enters, slot = (E.temp("full", bool_), E.temp("last", int64), E.temp("worst", int64),
                                       E.temp("enters", bool_), E.temp("slot", int64))
    up = axis("up", E.as_offset(E.temp("moves", int64)))
    better = _before(op, work.load(0, (r, j)), work.load(0, (r, E.as_offset(worst))))
    return [Name("full", E.index(j) >= count), Name("last", E.maximum(count - 1, 0)),
            Name("worst", E.select(full & (count > 0), _place(best, last), 0)),
            Name("enters", (~full | better) & (count > 0)),
            Name("slot", E.select(enters, E.select(full, last, E.index(j)), count)),
            Store(best, E.as_offset(slot), E.index(j, int32)),
            Name("moves", E.select(enters, slot, 0)), loop_over(up, _move_up(op, work, best, r, slot, up))]


def _move_up(op: Operation, work: Workspace, best: str, r: Dim, slot: E.Expr, up: Dim) -> list[Stmt]:
    here, above, a, b = (E.temp(name, int64) for name in ("here", "above", "a", "b"))
    swap = E.temp("swap", bool_)
    x, y = (work.load(0, (r, E.as_offset(t))) for t in (a, b))
    return [Name("here", slot - E.index(up)), Name("above", here - 1), Name("a", _place(best, here)),
            Name("b", _place(best, above)), Name("swap", _before(op, x, y)),
            Store(best, E.as_offset(here), E.cast(E.select(swap, b, a), int32)),
            Store(best, E.as_offset(above), E.cast(E.select(swap, a, b), int32))]


def _place(best: str, at: E.Expr) -> E.Expr:
    return E.cast(E.load(best, E.as_offset(at), int32), int64)


largest_of_rows = OpDef(
    "largest_of_rows", "rows", infer=_largest_type, attrs={"k": REQUIRED, "descending": True},
    dim_attrs=("k",), lower=Serial(_largest_steps), grad=lambda op, g: None,
    numpy=lambda rows, k, descending: _order_numpy(rows, descending)[:, :k],
    doc="For each row the positions of its k largest elements, in order; the first of equal ones.",
    samples=(*(Sample((x,), {"k": 2}, smooth=False) for x in (_TIES, _NANS, (3, 37), (0, 4))),
             Sample((_TIES,), {"k": 5}, smooth=False), Sample(((2, 3),), {"k": 0}, smooth=False),
             Sample((_TIES,), {"k": 1, "descending": False}, smooth=False)))


# Elements by their position along the last axis

def _pick_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.indices])
    source, index = op.params.type.dims, op.indices.type.dims
    if source is None or index is None:
        return TensorType(op.params.dtype, index)
    equal_dims(op, [source[:-1], index[:-1]])
    return TensorType(op.params.dtype, index)


def _pick_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    return load(0, (*at[:-1], E.as_offset(let(E.cast(load(1, at), int64)))))


pick_last: OpDef = OpDef(
    "pick_last", "params indices", infer=_pick_type, lower=Indexed(_pick_element), mixed=True,
    numpy=lambda params, indices: np.take_along_axis(params, indices.astype(np.int64), -1),
    grad=lambda op, g: (put_last(g, op.indices, size=dim_of(op.params, -1)), None),
    doc="out[.., k] = params[.., indices[.., k]], for indices that are valid.",
    samples=(Sample(((2, 5), np.array([[4, 0], [1, 1]], np.int32))), Sample(((5,), np.array([3, 0, 1]))),
             Sample(((2, 2, 3), np.zeros((2, 2, 1), np.int32))),
             Sample(((0, 3), np.zeros((0, 2), np.int32)))))


def _put_type(op: Operation) -> TensorType:
    dims = equal_dims(op, op.operands)
    return TensorType(op.updates.dtype, None if dims is None else (*dims[:-1], *open_dims((op.size,))))


def _put_target(op: Operation, at: E.Index, load: Load, let: Let) -> E.Index:
    return (*at[:-1], E.as_offset(let(E.cast(load(1, at), int64))))


def _put_numpy(updates: Any, indices: Any, size: int) -> Any:
    result = np.zeros((*updates.shape[:-1], size), updates.dtype)
    rows = np.indices(updates.shape)[:-1] if updates.ndim else ()
    np.add.at(result, (*rows, indices), updates)
    return result


put_last: OpDef = OpDef(
    "put_last", "updates indices", infer=_put_type, attrs={"size": REQUIRED}, dim_attrs=("size",),
    lower=Scatter(_put_target), mixed=True, numpy=_put_numpy,
    grad=lambda op, g: (pick_last(g, op.indices), None),
    doc="Zeros, with updates[.., k] added at [.., indices[.., k]]: undoes pick_last.",
    samples=(Sample(((2, 2), np.array([[4, 0], [1, 1]], np.int32)), {"size": 5}),
             Sample(((3,), np.array([3, 0, 1])), {"size": 4})))


def _rows_of(x: Tensor) -> Tensor:
    dims = x.type.known_dims
    result: Tensor = reshape(x, shape=(product(dims[:-1]), dims[-1]))
    return result


# What users call: any rank

def _argsort_type(op: Operation) -> TensorType:
    check_kind(op, "number")
    dims = op.operands[0].type.dims
    if dims == ():
        raise shape_error(op, "(C1): a scalar has no axis to sort along")
    return TensorType(int32, dims)


def _argsort(op: Operation) -> Tensor:
    result: Tensor = reshape(order_rows(_rows_of(op.values), descending=op.descending),
                             shape=op.values.type.known_dims)
    return result


argsort = OpDef(
    "argsort", "values", infer=_argsort_type, attrs={"descending": False}, expand=_argsort,
    grad=lambda op, g: None,
    numpy=_order_numpy, doc="The positions of the elements in order, along the last axis.",
    samples=(*shapes([(5,)], [(2, 3, 4)], [(3, 0)], smooth=False),
             *shapes([(3, 4)], descending=True, smooth=False)))


def _top_type(op: Operation) -> TensorType:
    dims, k = _argsort_type(op).dims, single(op, "k")
    if dims is None:
        return TensorType(int32, None)
    try:
        require_within(op, 0, k, dims[-1])
    except ValueError:
        raise shape_error(op, f"(C2): k is {k}, but the last axis has {dims[-1]} elements") from None
    return TensorType(int32, (*dims[:-1], k))


def _top(op: Operation) -> Tensor:
    dims, rows = op.input.type.known_dims, _rows_of(op.input)
    if isinstance(op.k, int) and (op.k > MOST_BY_INSERTION or radix.is_short(rows)):
        found = slice_(order_rows(rows, descending=True), begin=(0, 0), size=(-1, op.k))
    else:
        found = largest_of_rows(rows, k=op.k)
    result: Tensor = reshape(found, shape=(*dims[:-1], op.k))
    return result


top_positions = OpDef(
    "top_k", "input", infer=_top_type, attrs={"k": 1}, dim_attrs=("k",), expand=_top,
    grad=lambda op, g: None, numpy=lambda x, k: _order_numpy(x, True)[..., :k], tf_name="TopKV2",
    doc="The positions of the k largest elements along the last axis, in order; the first of equal ones.",
    samples=(*shapes([(5,)], [(2, 3, 4)], [(0, 7)], k=3, smooth=False),
             *shapes([(2, 80)], k=70, smooth=False)))
