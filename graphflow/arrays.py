"""Shapes and pieces of tensors, with TF1's signatures. Shape checks are made by the op records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.errors import DTypeError, ShapeError, UnsupportedError
from graphflow.compiler.ir.convert import Literal, as_tensor
from graphflow.compiler.ir.dtypes import as_dtype, bool_, float32, int32
from graphflow.compiler.ir.explain import misfit
from graphflow.compiler.ir.shape import TensorShape
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import (
    core,
    elementwise,
    gathering,
    indexing,
    joining,
    logic,
    scans,
    sequences,
    shapes,
)
from graphflow.renamed import as_shape, either, is_int

# Shape of a tensor


def shape(input: Any, name: str | None = None, out_type: Any = int32) -> Tensor:
    """The dims of `input` as a 1-D integer tensor; used as a shape it carries what is known of the dims."""
    result: Tensor = shapes.shape(input, out_type=as_dtype(out_type), name=name)
    return result


def size(input: Any, name: str | None = None, out_type: Any = int32) -> Tensor:
    """The number of elements of `input`."""
    result: Tensor = shapes.size(input, out_type=as_dtype(out_type), name=name)
    return result


def rank(input: Any, name: str | None = None) -> Tensor:
    """The number of axes of `input`."""
    result: Tensor = shapes.rank(input, name=name)
    return result


def shape_n(input: Sequence[Any], out_type: Any = int32, name: str | None = None) -> list[Tensor]:
    """The shape of each tensor of a list."""
    return [shape(x, name, out_type) for x in input]


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> Any:
    """The static shape of an elementwise result of two shapes."""
    a, b = TensorShape(shape_x), TensorShape(shape_y)
    if not (a.is_fully_defined() and b.is_fully_defined()):
        unknown = a.ndims is None or b.ndims is None
        return TensorShape(None if unknown else [None] * max(len(a), len(b)))
    try:
        return TensorShape(np.broadcast_shapes([int(d) for d in a], [int(d) for d in b]))
    except ValueError:
        raise ShapeError(f"broadcast_static_shape: {a} and {b} do not broadcast") from None


# The same elements, otherwise arranged


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """The same elements in row-major order, in another shape; one dim may be -1."""
    result: Tensor = shapes.reshape(tensor, shape=as_shape(shape), name=name)
    return result


def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """An axis of length 1 put in before `axis`."""
    axis = either("expand_dims", "axis", axis, dim=dim)
    if axis is None:
        raise TypeError("expand_dims: an axis is needed")
    result: Tensor = shapes.expand_dims(input, axis=axis, name=name)
    return result


def squeeze(input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None) -> Tensor:
    """Without the axes of length 1, or without those in `axis`."""
    result: Tensor = shapes.squeeze(input, axis=either("squeeze", "axis", axis, squeeze_dims=squeeze_dims),
                                    name=name)
    return result


def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Tensor:
    """Axes in the order `perm`, by default reversed."""
    result: Tensor = shapes.transpose(a, perm=perm, name=name)
    return result


def reverse(tensor: Any, axis: Any = None, name: str | None = None, dims: Any = None) -> Tensor:
    """Elements in reversed order along each axis in `axis` (`dims` was a list of bools, one per axis)."""
    axis = either("reverse", "axis", axis, dims=dims)
    if isinstance(axis, (list, tuple)) and axis and all(isinstance(a, bool) for a in axis):
        axis = [k for k, wanted in enumerate(axis) if wanted]
    result: Tensor = shapes.reverse(tensor, axis=axis, name=name)
    return result


reverse_v2 = reverse


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """The last two axes change places."""
    t = as_tensor(a)
    if t.type.rank is None or t.type.rank < 2:
        raise ShapeError(f"matrix_transpose: {t.name} is {t.type}, but a known rank of 2 or more is needed")
    perm = [*range(t.type.rank - 2), t.type.rank - 1, t.type.rank - 2]
    return transpose(t, perm, name)


# Joining and parting


def concat(values: Any, axis: Any = None, name: str = "concat", concat_dim: Any = None) -> Tensor:
    """Tensors joined along an axis that they have; all other dims are equal.

    TF 0.x's order `tf.concat(axis, values)` works too.
    """
    axis = either("concat", "axis", axis, concat_dim=concat_dim)
    if is_int(values):
        values, axis = axis, values
    if not isinstance(values, (list, tuple)):
        values = [values]
    if len(values) == 1:
        return as_tensor(values[0])
    result: Tensor = joining.concat(*values, axis=axis, name=name)
    return result


concat_v2 = concat


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """Tensors of one shape joined along a new axis."""
    if not isinstance(values, Iterable):
        raise misfit("stack", f"values must be a list of tensors, not {values!r}", DTypeError)
    result: Tensor = joining.stack(*values, axis=axis, name=name)
    return result


def pack(values: Any, axis: int = 0, name: str = "pack") -> Tensor:
    """`stack`, as TF 0.x called it."""
    return stack(values, axis, name)


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The slices along an axis, as a list; `num` is needed where the dim is unknown."""
    return list(joining.unstack.apply([value], name, {"num": num, "axis": axis}).outputs)


unpack = unstack


def split(value: Any = None, num_or_size_splits: Any = None, axis: Any = 0, num: int | None = None,
          name: str = "split", split_dim: Any = None, num_split: Any = None) -> list[Tensor]:
    """Pieces along an axis: a number of equal ones, or of the given sizes (one may be -1).

    TF 0.x's order `tf.split(axis, num, value)` works too.
    """
    if is_int(value) and not is_int(axis):
        value, axis = axis, value
    axis = axis if split_dim is None else split_dim
    pieces = either("split", "num_or_size_splits", num_or_size_splits, num_split=num_split)
    return list(joining.split.apply([value], name, {"num_or_size_splits": pieces, "axis": axis}).outputs)


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """`input` repeated along each axis."""
    result: Tensor = shapes.tile(input, multiples=multiples, name=name)
    return result


def pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", name: str | None = None,
        constant_values: Any = 0) -> Tensor:
    """Elements added before and after along each axis: constants, or mirrored with REFLECT or SYMMETRIC."""
    result: Tensor = joining.pad(tensor, paddings=paddings, mode=str(mode).upper(),
                                 constant_values=constant_values, name=name or "Pad")
    return result


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """The block that starts at `begin`; a size of -1 reaches to the end."""
    result: Tensor = indexing.slice_(input_, begin=begin, size=size, name=name)
    return result


def strided_slice(input_: Any, begin: Any, end: Any, strides: Any = None, begin_mask: int = 0,
                  end_mask: int = 0, ellipsis_mask: int = 0, new_axis_mask: int = 0,
                  shrink_axis_mask: int = 0, var: Any = None,
                  name: str | None = None) -> Tensor:
    """What `input_[begin:end:strides]` is, with bit masks for the parts left open."""
    if strides is None:
        strides = [1] * len(begin)
    result: Tensor = indexing.strided_slice(
        input_, begin=begin, end=end, strides=strides, begin_mask=begin_mask, end_mask=end_mask,
        ellipsis_mask=ellipsis_mask, new_axis_mask=new_axis_mask, shrink_axis_mask=shrink_axis_mask,
        name=name)
    return result


def gather(params: Any, indices: Any, validate_indices: bool | None = None, name: str | None = None,
           axis: Any = None, batch_dims: int = 0) -> Tensor:
    """The slices of `params` along an axis (default 0) that `indices` name.

    Raises:  InvalidArgumentError in a run with an index outside
    """
    if batch_dims:
        raise UnsupportedError("gather: batch_dims is not supported; tf.one_hot and tf.matmul can stand in")
    result: Tensor = gathering.gather(params, indices, axis=0 if axis is None else axis,
                                      name=name or "GatherV2")
    return result


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """Row k is the sum of the rows of `data` whose segment id is k; those with an id below 0 are dropped."""
    result: Tensor = gathering.unsorted_segment_sum(data, segment_ids, num_segments=num_segments, name=name)
    return result


def gather_nd(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """The elements or slices of `params` at positions: indices [..., k] gives [..., *params.shape[k:]]."""
    result: Tensor = gathering.gather_nd(params, indices, name=name)
    return result


def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Tensor:
    """Zeros of `shape` with each update added at its position; the inverse of gather_nd."""
    result: Tensor = gathering.scatter_nd(updates, indices, shape=shape, name=name)
    return result


def cumsum(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False,
           name: str | None = None) -> Tensor:
    """Running sums along an axis: `exclusive` of the element itself, `reverse` from the end."""
    result: Tensor = scans.cumsum(x, axis=axis, exclusive=exclusive, reverse=reverse, name=name)
    return result


def cumprod(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False,
            name: str | None = None) -> Tensor:
    """Running products along an axis, as cumsum."""
    result: Tensor = scans.cumprod(x, axis=axis, exclusive=exclusive, reverse=reverse, name=name)
    return result


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: int | None = None) -> Tensor:
    """The slices where a constant mask holds; a computed mask is not supported.

    Shapes:  mask has at least one axis; its dims are those of `tensor` from `axis` (default 0) on
    """
    known = constant_value(as_tensor(mask))
    if known is None:
        raise UnsupportedError("boolean_mask: how many elements are left depends on values, so only a "
                               "constant mask is supported\nhint: tf.where(mask, x, zeros) keeps the shape")
    t, first = as_tensor(tensor), 0 if axis is None else axis
    if known.ndim == 0 or known.dtype != np.bool_:
        raise ShapeError(f"boolean_mask: the mask must be bool and have an axis, but it is {known.dtype} "
                         f"{list(known.shape)}")
    if t.type.dims is not None:
        first = first % max(len(t.type.dims), 1)
        masked = TensorShape(t.type.dims[first:first + known.ndim])
        if not masked.is_compatible_with(known.shape):
            raise ShapeError(f"boolean_mask: the mask's shape {list(known.shape)} is not that of the axes of "
                             f"{t.name} from {first} on, {masked}")
    if known.ndim != 1:
        dims = t.type.dims or ()
        t = reshape(t, [*dims[:first], -1, *dims[first + known.ndim:]])
    return gather(t, np.flatnonzero(known).astype(np.int32), axis=first, name=name)


def constant_value(t: Tensor) -> Any:
    """The value of a constant tensor as a numpy array, or None."""
    value = t.op.attrs.get("value")
    return value.array if isinstance(value, Literal) else None


# Constant tensors

def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """start, start + delta, ..., up to but not including limit; `tf.range(n)` counts from 0."""
    return sequences.make_range(start, limit, delta, dtype, name)


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """`num` values from start to stop, both included, at equal distances."""
    result: Tensor = sequences.linspace(start, stop, num=num, name=name or "LinSpace")
    return result


lin_space = linspace


def one_hot(indices: Any, depth: Any, on_value: Any = None, off_value: Any = None, axis: int | None = None,
            dtype: Any = None, name: str | None = None) -> Tensor:
    """on_value at the index and off_value elsewhere, along a new axis (default: the last) of length depth."""
    on = 1 if on_value is None else on_value
    off = 0 if off_value is None else off_value
    tensors = [v for v in (on, off) if isinstance(v, Tensor) or hasattr(v, "_as_tensor")]
    if dtype is None and (on_value is not None or off_value is not None):
        dtype = as_tensor(on if on_value is not None else off).dtype
    wanted = float32 if dtype is None else as_dtype(dtype)
    options: dict[str, Any] = {"depth": depth, "axis": -1 if axis is None else axis,
                               "name": name or "one_hot"}
    if not tensors:
        result: Tensor = sequences.one_hot(indices, on_value=on, off_value=off, dtype=wanted, **options)
        return result
    hit = sequences.one_hot(indices, on_value=True, off_value=False, dtype=bool_, **options)
    chosen: Tensor = logic.where_v2(hit, as_tensor(on, wanted), as_tensor(off, wanted))
    return chosen


def eye(num_rows: Any, num_columns: Any = None, batch_shape: Any = None, dtype: Any = float32,
        name: str | None = None) -> Tensor:
    """Ones on the diagonal, zeros elsewhere."""
    if batch_shape is not None:
        raise UnsupportedError("eye: batch_shape is not supported; tf.broadcast_to repeats a matrix")
    columns = num_rows if num_columns is None else num_columns
    return one_hot(range_(num_rows), columns, dtype=dtype, name=name or "eye")


def diag(diagonal: Any, name: str | None = None) -> Tensor:
    """The matrix with a vector on its diagonal."""
    d = as_tensor(diagonal)
    if d.type.rank != 1:
        raise misfit("diag", "a vector is needed", operands={"diagonal": d})
    result: Tensor = elementwise.mul(expand_dims(d, 1), eye(shape(d)[0], dtype=d.dtype), name=name or "Diag")
    return result


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = bool_, name: str | None = None) -> Tensor:
    """Row b is true (or 1) in its first lengths[b] places, of maxlen in all."""
    n = as_tensor(lengths)
    if maxlen is None:
        raise UnsupportedError("sequence_mask: without maxlen the shape depends on values; give maxlen")
    places = range_(maxlen, dtype=n.dtype)
    mask: Tensor = logic.less(places, expand_dims(n, -1), name=name or "SequenceMask")
    wanted = as_dtype(dtype)
    result: Tensor = mask if wanted is bool_ else core.cast(mask, dtype=wanted)
    return result


def meshgrid(*args: Any, **kwargs: Any) -> list[Tensor]:
    """Coordinates on a grid: one tensor per axis, repeated along the others; indexing is "xy" or "ij"."""
    indexing_order = kwargs.pop("indexing", "xy")
    kwargs.pop("name", None)
    if kwargs or indexing_order not in ("xy", "ij"):
        raise misfit("meshgrid", f"indexing is 'xy' or 'ij', not {', '.join(kwargs) or indexing_order}")
    rank = len(args)
    order = [1, 0, *range(2, rank)] if indexing_order == "xy" and rank > 1 else list(range(rank))
    values = [as_tensor(a) for a in args]
    lengths = [values[k] for k in order]
    full = [shape(v)[0] if v.type.dims is None or v.type.dims[0] is None else v.type.dims[0] for v in lengths]
    spread = [reshape(v, [-1 if k == order[i] else 1 for k in range(rank)]) for i, v in enumerate(values)]
    return [broadcast_to(s, full) for s in spread]



def zeros(shape: Any, dtype: Any = float32, name: str | None = None) -> Tensor:
    """Zeros of a shape (False for bool)."""
    return shapes.zeros(as_shape(shape), dtype, name)


def ones(shape: Any, dtype: Any = float32, name: str | None = None) -> Tensor:
    """Ones of a shape (True for bool)."""
    return shapes.ones(as_shape(shape), dtype, name)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """One value in a shape."""
    result: Tensor = shapes.fill(value, dims=as_shape(dims), name=name)
    return result


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
    """Zeros in the shape of `tensor`."""
    result: Tensor = shapes.zeros_like(tensor, dtype=None if dtype is None else as_dtype(dtype),
                                       name=name or "zeros_like")
    return result


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True) -> Tensor:
    """Ones in the shape of `tensor`."""
    result: Tensor = shapes.ones_like(tensor, dtype=None if dtype is None else as_dtype(dtype),
                                      name=name or "ones_like")
    return result


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """`input` repeated to a shape, by numpy's rule."""
    result: Tensor = shapes.broadcast_to(input, shape=as_shape(shape), name=name)
    return result
