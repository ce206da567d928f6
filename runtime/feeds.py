"""Feeds: the values given for placeholders, as arrays of their types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.compiler.errors import DTypeError, ShapeError
from graphflow.compiler.ir.dims import Dim, sym
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.explain import location
from graphflow.compiler.ir.shape import TensorShape
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.runtime.pages import Array

_LONGEST_SHAPE = 8  # of a fed one


def convert_feed(value: Any, t: Tensor) -> Array:
    """A feed as a C-ordered array of the tensor's dtype; DTypeError when that would change the value."""
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        raise DTypeError(f"the value fed for {t.name!r} is a tensor: feed what session.run gives for it")
    try:
        array = np.asarray(value)
    except ValueError as e:
        raise ShapeError(f"the value fed for {t.name!r} is ragged: {e}") from None
    if array.dtype is not t.dtype.numpy:
        array = _cast(array, t)
    return np.ascontiguousarray(array).reshape(array.shape)


def _cast(array: Array, t: Tensor) -> Array:
    dtype: DType = t.dtype
    if array.dtype.kind not in "biufV" or (array.dtype.kind == "V" and dtype.kind != "float"):
        raise DTypeError(f"cannot feed an array of dtype {array.dtype} for {_place(t)}")
    with np.errstate(all="ignore"):
        converted = array.astype(dtype.numpy)
    if dtype.kind in ("int", "uint", "bool") and not np.array_equal(converted, array):
        first = np.flatnonzero(converted != array)[0]
        was, now = (a.flat[first].item() for a in (array, converted))
        raise DTypeError(f"cannot feed {was} for {_place(t)}: it would become {now}")
    return converted


def check_shape(a: Array, t: Tensor) -> None:
    """Raise ShapeError where an array does not fit its placeholder."""
    if not TensorShape(t.type.dims).is_compatible_with(TensorShape(a.shape)):
        raise ShapeError(f"cannot feed an array of shape {a.shape} for {_place(t)}")


def feed_types(feeds: Sequence[Tensor], arrays: Sequence[Array]) -> tuple[TensorType, ...]:
    """The feeds' types with a symbol n0, n1, ... for each unknown dim."""
    count = 0
    types = []
    for t, a in zip(feeds, arrays, strict=True):
        dims: list[Dim] = []
        for d in t.type.dims if t.type.dims is not None else (None,) * a.ndim:
            if d is None:
                d, count = sym(f"n{count}"), count + 1
            dims.append(d)
        types.append(TensorType(t.dtype, tuple(dims)))
    return tuple(types)


def fed_text(feeds: Sequence[Tensor], arrays: Sequence[Array]) -> str:
    """What each placeholder was given, to end an error with."""
    lines = []
    for t, a in zip(feeds, arrays, strict=True):
        given = a.tolist() if _gives_dims(a) else TensorType(t.dtype, a.shape)
        lines.append(f"\n  {t.name}  {given} for {t.type}, made at {location(t)}")
    return "".join(["\nfed:", *lines]) if lines else ""


def _gives_dims(a: Array) -> bool:
    """Whether it may be a shape or a size, so that its values say more than its type."""
    return a.dtype.kind in "iu" and a.size <= _LONGEST_SHAPE


def _place(t: Tensor) -> str:
    """A placeholder, for errors."""
    return f"{t.name!r}, which is {t.type}, made at {location(t)}"
