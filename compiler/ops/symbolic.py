"""Integer tensors as symbols: `tf.reshape(x, [tf.shape(x)[0], 10])` has a known rank and 10 columns.

The value of a shape computation is found by running its ops' own numpy functions on arrays of dims.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.convert import Literal, as_tensor
from graphflow.compiler.ir.dims import Dim, Poly, atom
from graphflow.compiler.ir.registry import HOOKS
from graphflow.compiler.ir.shape import Dimension, TensorShape
from graphflow.compiler.ir.tensor import Tensor

_MOST_ELEMENTS = 64  # shapes and paddings are short; longer integer tensors are data
_DEEPEST = 50


def symbolic_value(t: Tensor, depth: int = 0) -> Any:
    """An object array of dims with the value of an integer tensor; None when it is not known as symbols."""
    dims = t.type.dims
    if not t.dtype.is_integer or dims is None or len(dims) > 2 or depth > _DEEPEST:
        return None
    found = _by_record(t, depth)
    if found is not None:
        return found
    size = t.type.size if t.type.is_static else None
    if not isinstance(size, int) or len(dims) > 1 or size > _MOST_ELEMENTS:
        return None
    elements = [atom("elem", f"{t.name}[{k}]", t, k) for k in range(size)]
    return _object_array(elements).reshape(dims)


def _by_record(t: Tensor, depth: int) -> Any:
    op = t.op
    if callable(op.opdef.symbolic):
        return op.opdef.symbolic(op)
    if "value" in op.attrs and isinstance(op.attrs["value"], Literal):
        array = op.attrs["value"].array
        return _object_array([int(v) for v in array.ravel()]).reshape(array.shape) \
            if array.size <= _MOST_ELEMENTS else None
    if not op.opdef.symbolic or op.opdef.numpy is None:
        return None
    operands = [symbolic_value(x, depth + 1) for x in op.operands]
    if any(v is None for v in operands):
        return None
    try:
        result = op.opdef.numpy(*operands, **op.attrs)
    except (TypeError, ValueError, ArithmeticError, IndexError):
        return None  # not expressible in dims, such as a comparison of unknowns
    result = result[t.index] if isinstance(result, (tuple, list)) else result
    return result if isinstance(result, np.ndarray) else _object_array([result]).reshape(())


def _object_array(values: Iterable[Any]) -> Any:
    values = list(values)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def shape_symbols(t: Tensor) -> Any:
    """The dims of a tensor as an object array; unknown ones as atoms that refer to the tensor."""
    if t.type.dims is None:
        return None
    return _object_array(atom("dim", f"dim({t.name},{k})", t, k) if d is None else d
                         for k, d in enumerate(t.type.dims))


def dims_attr(value: Any) -> Any:
    """What a user gives for a shape (list, array, tensor, mixture) as a tuple of dims, a dim, or a Tensor.

    A Tensor comes back only where not even the number of dims is known.
    """
    if value is None or isinstance(value, Poly):
        return value
    if isinstance(value, Dimension):
        return value.value
    if isinstance(value, TensorShape):
        return tuple(value.as_list())
    if isinstance(value, Literal):
        value = value.array
    if hasattr(value, "_as_tensor"):
        value = as_tensor(value)
    if isinstance(value, Tensor):
        return _from_tensor(value)
    if isinstance(value, np.ndarray):
        return dims_attr(value.tolist())
    if isinstance(value, (list, tuple)):
        return tuple(dims_attr(v) for v in value)
    return _whole_number(value)


def _from_tensor(t: Tensor) -> Any:
    if not t.dtype.is_integer:
        raise ShapeError(f"integers are needed, but {t.name} is {t.dtype.name}, "
                         f"made at {t.op.source[0]}:{t.op.source[1]}")
    found = symbolic_value(t)
    if found is None:
        return t
    return _nested(found)


def _nested(array: Any) -> Any:
    if array.ndim == 0:
        return array.item() if isinstance(array, np.ndarray) else array
    return tuple(_nested(row) if isinstance(row, np.ndarray) else _plain(row) for row in array)


def _plain(value: Any) -> Dim:
    return value if isinstance(value, Poly) else int(value)


def _whole_number(value: Any) -> int:
    try:
        return int(value.__index__())
    except (AttributeError, TypeError):
        if isinstance(value, float) and value.is_integer():
            return int(value)
        raise ShapeError(f"a whole number is needed, or a tensor of one, not {value!r}") from None


HOOKS["dims_attr"] = dims_attr
