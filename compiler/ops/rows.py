"""Rows of a tensor, one at a time: what loops read, write and save."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import float32, int32, int64
from graphflow.compiler.ir.explain import dtype_error, shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load, Row
from graphflow.compiler.ops.gathering import check_range
from graphflow.compiler.ops.rules import check_kind, equal_dims, open_dims
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.ops.shapes import dim_of, zeros_like


def _check_index(op: Operation) -> None:
    check_kind(op, "int", [op.index])
    if op.index.type.rank not in (0, None):
        raise shape_error(op, "(C1): the index must be a scalar")


def _row_type(op: Operation) -> TensorType:
    _check_index(op)
    dims = op.x.type.dims
    if dims == ():
        raise shape_error(op, "(C2): a scalar has no rows")
    return TensorType(op.x.dtype, None if dims is None else dims[1:])


def row_index(op: Operation, index: E.Expr, extent: Dim) -> E.Expr:
    """The index of a row as an int64, checked unless the record's user knows that it is right."""
    return E.checked_index(index, extent, op.location) if op.checked else E.cast(index, int64)


def _row_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    extent = op.x.type.known_dims[0]
    row = E.as_offset(let(row_index(op, load(1, ()), extent)))
    may_be_empty = op.checked and not (isinstance(extent, int) and extent > 0)
    return load(0, (row, *at), E.index(extent) > 0 if may_be_empty else None)


def _row_numpy(x: Any, index: Any, checked: bool) -> Any:
    check_range(np.asarray(index), x.shape[0])
    return x[int(index)]


def _store_type(op: Operation) -> TensorType:
    _check_index(op)
    dims = op.x.type.dims
    if dims is None:
        return TensorType(op.x.dtype, None)
    rest = equal_dims(op, [dims[1:], op.row])
    return TensorType(op.x.dtype, (dims[0], *rest))


def _array_type(op: Operation) -> TensorType:
    if op.element is None:
        return TensorType(op.dtype, None)
    return TensorType(op.dtype, open_dims((op.size, *op.element)))


def is_open(t: Tensor) -> bool:
    """Whether it is an array whose elements' shape comes from what is written first."""
    return t.op.opdef is tensor_array and t.type.dims is None


def _stored_type(op: Operation) -> TensorType:
    if op.row.dtype is not op.x.dtype:
        raise dtype_error(op, f"(C2): a row of {op.row.dtype.name} in a tensor of {op.x.dtype.name}")
    if is_open(op.x) and op.row.type.dims is not None:
        _check_index(op)
        return TensorType(op.x.dtype, (*open_dims((op.x.op.size,)), *op.row.type.dims))
    return _store_type(op)


def _store_numpy(x: Any, index: Any, row: Any, checked: bool, once: bool = False) -> Any:
    if x.ndim == 1 and row.ndim:
        x = np.zeros((x.size, *row.shape), row.dtype)  # an array whose elements had no shape yet
    check_range(np.asarray(index), x.shape[0])
    result = np.array(x)
    result[int(index)] = row
    return result


def _add_numpy(x: Any, index: Any, row: Any, checked: bool) -> Any:
    check_range(np.asarray(index), x.shape[0])
    return _store_numpy(x, index, x[int(index)] + row, checked)


def _only_type(op: Operation) -> TensorType:
    _check_index(op)
    dims = op.row.type.dims
    return TensorType(op.row.dtype, None if dims is None else (*open_dims((op.size,)), *dims))


def _only_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    here = E.eq(E.index(at[0]), row_index(op, load(1, ()), op.out.type.known_dims[0]))
    return E.select(here, load(0, at[1:]), E.const(0, op.out.dtype))


def _only_numpy(row: Any, index: Any, size: int, checked: bool) -> Any:
    return _store_numpy(np.zeros((size, *row.shape), row.dtype), index, row, checked)


def _row_grad(op: Operation, g: Tensor) -> tuple[Tensor, None]:
    return only_row(g, op.index, size=dim_of(op.x, 0), checked=op.checked), None


def _store_grad(op: Operation, g: Tensor) -> tuple[Tensor, None, Tensor]:
    row = row_at(g, op.index, checked=op.checked)
    return row_store(g, op.index, zeros_like(row), checked=op.checked), None, row


_ONE = np.int32(1)
_ATTRS: dict[str, Any] = {"checked": True}
row_at: OpDef = OpDef(
    "row_at", "x index", infer=_row_type, attrs=_ATTRS, mixed=True, grad=_row_grad, numpy=_row_numpy,
    lower=Indexed(_row_element), doc="x[index] along the first axis.",
    samples=(Sample(((3, 4), _ONE)), Sample(((2,), _ONE)),
             Sample(((5, 2, 3), np.int64(4)), {"checked": False})))

row_store: OpDef = OpDef(
    "row_store", "x index row", infer=_stored_type, attrs={**_ATTRS, "once": False}, mixed=True,
    numpy=_store_numpy, lower=Row(row_index, add=False), grad=_store_grad,
    doc="x with one row replaced. `once` promises that no row is stored twice, or read before it is stored.",
    samples=(Sample(((3, 4), _ONE, (4,))), Sample(((2,), _ONE, ())),
             Sample(((5, 2, 3), np.int64(4), (2, 3)), {"checked": False})))

row_add: OpDef = OpDef(
    "row_add", "x index row", infer=_store_type, attrs=_ATTRS, mixed=True, numpy=_add_numpy,
    lower=Row(row_index, add=True), doc="x with something added to one row.",
    grad=lambda op, g: (g, None, row_at(g, op.index, checked=op.checked)),
    samples=(Sample(((3, 4), _ONE, (4,))), Sample(((2,), _ONE, ())),
             Sample(((5, 2, 3), np.int64(4), (2, 3)), {"checked": False})))

only_row: OpDef = OpDef(
    "only_row", "row index", infer=_only_type, attrs={"size": REQUIRED, **_ATTRS}, dim_attrs=("size",),
    mixed=True, numpy=_only_numpy, lower=Indexed(_only_element),
    grad=lambda op, g: (row_at(g, op.index, checked=op.checked), None), doc="Zeros but for one row.",
    samples=(Sample(((4,), _ONE), {"size": 3}), Sample(((), _ONE), {"size": 2}),
             Sample(((2, 3), np.int64(4)), {"size": 5, "checked": False})))


tensor_array: OpDef = OpDef(
    "tensor_array", "", infer=_array_type, tf_name="TensorArrayV3",
    attrs={"dtype": REQUIRED, "size": REQUIRED, "element": None, "grows": False},
    dim_attrs=("size", "element"),
    lower=Indexed(lambda op, at, load, let: E.const(0, op.dtype), cheap=True),
    numpy=lambda dtype, size, element, grows: np.zeros((size, *(element or ())), dtype.numpy),
    doc="Rows of zeros; without `element` their shape is that of the first row stored. One that `grows` has "
        "a row for each iteration of the loop that writes to it first.",
    samples=(Sample((), {"dtype": float32, "size": 3, "element": (2,)}),
             Sample((), {"dtype": int32, "size": 0, "element": ()})))


blank: OpDef = OpDef(
    "blank", "", infer=lambda op: TensorType(op.dtype, open_dims(op.dims)),
    attrs={"dtype": REQUIRED, "dims": REQUIRED}, dim_attrs=("dims",),
    lower=Indexed(lambda op, at, load, let: E.const(0, op.dtype), cheap=True),
    numpy=lambda dtype, dims: np.zeros(dims, dtype.numpy),
    doc="Memory for rows that are stored before they are read; nothing fills it.",
    samples=(Sample((), {"dtype": float32, "dims": (3, 2)}),))
