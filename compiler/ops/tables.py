"""Rows of a table by index, as the compiler has them for updates that touch few rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import Dim, axis
from graphflow.compiler.ir.dtypes import int32, int64
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load, Scatter, Serial, Workspace
from graphflow.compiler.loops.nest import Let as LetStmt
from graphflow.compiler.loops.nest import Stmt, Store, loop_over
from graphflow.compiler.ops.rules import check_kind, equal_dims, open_dims
from graphflow.compiler.ops.samples import Sample

_IDS = np.array([2, 0, 0, 1], np.int64)


# add_rows: the base with rows added

def _add_rows_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.indices])
    base, updates = op.base.type, op.updates.type
    if base.dims is not None and updates.dims is not None:
        equal_dims(op, [updates.dims[:1], op.indices])
        equal_dims(op, [updates.dims[1:], base.dims[1:]])
    return TensorType(updates.dtype, base.dims)


def _row(op: Operation, at: E.Index, load: Load, let: Let) -> E.Index:
    return (E.as_offset(let(E.cast(load(1, at[:1]), int64))), *at[1:])


def _add_rows_numpy(updates: Any, indices: Any, base: Any) -> Any:
    result = base.copy()
    np.add.at(result, indices, updates)
    return result


add_rows = OpDef(
    "add_rows", "updates indices base", infer=_add_rows_type, lower=Scatter(_row, base=2), mixed=True,
    numpy=_add_rows_numpy,
    doc="The base, with updates[i] added to row indices[i]; the indices are valid.",
    samples=(Sample(((4, 2), _IDS, (3, 2))), Sample(((4,), _IDS, (5,))), Sample(((4, 2, 3), _IDS, (3, 2, 3))),
             Sample(((0, 2), _IDS[:0], (3, 2)))))


# The same without a base, and what undoes it

def _sum_rows_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.indices])
    updates = op.updates.type
    return TensorType(updates.dtype, None if updates.dims is None else (*open_dims((op.size,)),
                                                                        *updates.dims[1:]))


def _sum_rows_numpy(updates: Any, indices: Any, size: int) -> Any:
    return _add_rows_numpy(updates, indices, np.zeros((size, *updates.shape[1:]), updates.dtype))


sum_rows = OpDef(
    "sum_rows", "updates indices", infer=_sum_rows_type, lower=Scatter(_row), numpy=_sum_rows_numpy,
    mixed=True, attrs={"size": REQUIRED}, dim_attrs=("size",),
    doc="Zeros, with updates[i] added to row indices[i]; the indices are valid.",
    samples=(Sample(((4, 2), _IDS), {"size": 3}), Sample(((4,), _IDS), {"size": 5}),
             Sample(((0, 2), _IDS[:0]), {"size": 2})))


def _rows_type(op: Operation) -> TensorType:
    check_kind(op, "int", [op.indices])
    params, indices = op.params.type, op.indices.type
    known = params.dims is not None and indices.dims is not None
    return TensorType(params.dtype, (*indices.dims, *params.dims[1:]) if known else None)


def _rows_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    rank = len(op.indices.type.known_dims)
    row = let(E.cast(load(1, at[:rank]), int64))
    return load(0, (E.as_offset(row), *at[rank:]))


rows_at = OpDef(
    "rows_at", "params indices", infer=_rows_type, lower=Indexed(_rows_element), mixed=True,
    numpy=lambda params, indices: params[indices], doc="The rows that valid indices name.",
    samples=(Sample(((3, 2), _IDS)), Sample(((5, 3), _IDS.reshape(2, 2))), Sample(((3, 2), _IDS[:0]))))


# same_row: where else an index stands

def _same_row_type(op: Operation) -> TensorType:
    check_kind(op, "int")
    return TensorType(int64, op.indices.type.dims)


def _same_row_steps(op: Operation, work: Workspace) -> list[Stmt]:
    """Each index leaves its place in a table, where the last is found. Only what was written is read."""
    n: Dim = op.indices.type.known_dims[0]
    table, i, j = work.scratch(int32, op.size), axis("i", n), axis("j", n)
    row, again = E.temp("row", int64), E.temp("again", int64)
    last = E.cast(E.load(table, E.as_offset(again), int32), int64)
    first, second = (E.cast(work.load(0, (k,)), int64) for k in (i, j))
    return [loop_over(i, [LetStmt("row", first), Store(table, E.as_offset(row), E.index(i, int32))]),
            loop_over(j, [LetStmt("again", second), work.store((j,), last)])]


def _same_row_numpy(indices: Any, size: int) -> Any:
    table = np.zeros(size, np.int64)
    table[indices] = np.arange(indices.size)
    return table[indices]


same_row = OpDef(
    "same_row", "indices", infer=_same_row_type, attrs={"size": REQUIRED}, dim_attrs=("size",), mixed=True,
    lower=Serial(_same_row_steps), numpy=_same_row_numpy,
    doc="For each of some valid indices the last place where the same index stands.",
    samples=(Sample((_IDS,), {"size": 3}), Sample((np.array([5, 5, 5, 1, 5, 1]),), {"size": 6}),
             Sample((_IDS[:0],), {"size": 3})))
