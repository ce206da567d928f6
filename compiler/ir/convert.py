"""From Python and numpy values to tensors, by TF1's rules."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from graphflow.compiler.errors import DTypeError
from graphflow.compiler.ir.dims import Poly
from graphflow.compiler.ir.dtypes import DType, as_dtype, bool_, float32, int32, int64
from graphflow.compiler.ir.explain import location, misfit
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.shape import Dimension, TensorShape
from graphflow.compiler.ir.tensor import Tensor


class Literal:
    """A constant array as an attribute: read-only, hashable, equal by content."""

    __slots__ = ("array", "_key")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        # its bytes go into programs as they lie in memory, so a view such as a transpose is copied as well
        self.array = array.copy() if array.flags.writeable or not array.flags.c_contiguous else array
        self.array.flags.writeable = False
        # a large array is compared by identity: hashing 100 MB of weights would cost more than it saves
        content: Any = self.array.tobytes() if self.array.nbytes <= 4096 else id(self.array)
        self._key = (self.array.dtype.str, self.array.shape, content)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._key == other._key

    def __repr__(self) -> str:
        if self.array.size <= 16:
            return str(self.array.tolist())
        return f"<{'x'.join(map(str, self.array.shape))} values>"


def as_tensor(value: Any, dtype: DType | None = None, name: str | None = None, for_op: str = "") -> Tensor:
    """The value as a Tensor of the default graph; tensors must have `dtype`, plain values are given it."""
    if isinstance(value, Tensor):
        return _checked(value, dtype, for_op)
    convert = getattr(value, "_as_tensor", None)
    if convert is not None:
        return _checked(convert(), dtype, for_op)
    if isinstance(value, (list, tuple)) and _holds_tensor(value):
        return _pack(value, dtype, name)
    # numbers are few; 0.0 is as good as -0.0 to a dictionary, and another constant
    is_number = type(value) in (int, float) and value
    literal = _number(value, dtype, for_op) if is_number else Literal(as_array(value, dtype, for_op))
    result: Tensor = REGISTRY["constant"](value=literal, name=name)
    return result


@functools.lru_cache(maxsize=1024, typed=True)
def _number(value: float, dtype: DType | None, for_op: str) -> Literal:
    return Literal(as_array(value, dtype, for_op))


def _checked(t: Tensor, dtype: DType | None, for_op: str) -> Tensor:
    if dtype is not None and t.dtype is not dtype:
        raise misfit(for_op, f"{t.name} is {t.dtype.name} (made at {location(t)}), but {dtype.name} is "
                             f"needed", DTypeError, f"tf.cast(x, tf.{dtype.name}) converts it")
    return t


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_tensor(v) for v in value)
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


def _pack(values: Any, dtype: DType | None, name: str | None) -> Tensor:
    """A list with tensors in it, such as [tf.shape(x)[0], 10], becomes their stack."""
    if dtype is None:
        dtype = _first_dtype(values)
    result: Tensor = REGISTRY["stack"](*[as_tensor(v, dtype) for v in values], axis=0, name=name)
    return result


def _first_dtype(values: Any) -> DType | None:
    for v in values:
        if isinstance(v, (list, tuple)):
            found = _first_dtype(v)
        else:
            found = v.dtype if isinstance(v, Tensor) or hasattr(v, "_as_tensor") else None
        if found is not None:
            return found
    return None


def as_array(value: Any, dtype: DType | None = None, for_op: str = "") -> np.ndarray[Any, Any]:
    """A numpy array of a graphflow dtype: Python floats are float32, ints int32 (int64 when they must be)."""
    if type(value) is float and (dtype is None or dtype.is_floating):  # the most common case, in short
        return np.array(value, (dtype or float32).numpy)
    if isinstance(value, TensorShape):
        value = value.as_list()
    if isinstance(value, (Dimension, Poly)):
        value = int(value)  # type: ignore[arg-type]
    elif isinstance(value, (list, tuple)) and any(isinstance(v, Dimension) for v in value):
        value = [int(v) for v in value]
    if value is None:
        raise misfit(for_op, "None is not a tensor", DTypeError)
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as e:
        uneven = isinstance(value, (list, tuple))
        text = "does not convert to a tensor: " + ("its rows differ in length" if uneven else str(e))
        raise misfit(for_op, f"{short(value)} {text}", DTypeError) from None
    if array.dtype == object or array.dtype.kind in "SUMmc":
        raise misfit(for_op, f"{short(value)} (a {type(value).__name__}) does not convert to a tensor",
                     DTypeError)
    natural = _natural_dtype(value, array)
    if dtype is None:
        dtype = natural
    elif not _fits(natural, dtype, value):
        raise misfit(for_op, f"expected {dtype.name}, got {short(value)} of type {natural.name}", DTypeError,
                     "tf.cast converts tensors; a constant is written as one")
    elif dtype.is_integer and natural.is_integer and array.size:
        low, high = array.min(), array.max()
        if low < dtype.min or high > dtype.max:
            raise misfit(for_op, f"{low if low < dtype.min else high} is not in the range of {dtype.name}, "
                                 f"{dtype.min} to {dtype.max}", DTypeError)
    # a Literal copies what may be written to; its owner may make a read-only array writeable again
    return array.astype(dtype.numpy, copy=not array.flags.writeable)


def _natural_dtype(value: Any, array: np.ndarray[Any, Any]) -> DType:
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        return as_dtype(array.dtype)
    if array.dtype == np.float64 and not _leaf_is_numpy(value):
        return float32
    if array.dtype == np.int64 and not _leaf_is_numpy(value):
        info = np.iinfo(np.int32)
        fits = array.size == 0 or (array.min() >= info.min and array.max() <= info.max)
        return int32 if fits else int64
    return as_dtype(array.dtype)


def _leaf_is_numpy(value: Any) -> bool:
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (np.ndarray, np.generic))


def _fits(natural: DType, wanted: DType, value: Any) -> bool:
    """Whether a plain value may take the dtype: never a float an int's, nor a number bool's."""
    if natural is wanted or natural.kind == wanted.kind or np.size(value) == 0:
        return True
    if wanted is bool_ or natural is bool_:
        return False
    return wanted.is_floating or (natural.is_integer and wanted.is_integer)


def short(value: Any) -> str:
    """A value for an error's text."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
