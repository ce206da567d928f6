"""TensorType: a dtype and dims, written `f32[?,784]`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.dims import Dim, Poly, product, sym
from graphflow.compiler.ir.dtypes import BY_CODE, DType
from graphflow.compiler.ir.shape import Dimension, TensorShape
from graphflow.compiler.records import record


@record
class TensorType:
    """What is known of a tensor before a run.

    dims: one entry per axis: an int, a Poly over named unknowns (while compiling), or None for an unknown;
          `dims` itself is None when the rank is unknown.
    """

    __slots__ = ("dims", "dtype")

    dtype: DType
    dims: tuple[Dim | None, ...] | None

    @property
    def rank(self) -> int | None:
        return None if self.dims is None else len(self.dims)

    @property
    def is_static(self) -> bool:
        return self.dims is not None and all(isinstance(d, int) for d in self.dims)

    @property
    def known_dims(self) -> tuple[Dim, ...]:
        """The dims inside the compiler, where every one is an int or a Poly."""
        assert self.dims is not None and None not in self.dims, f"dims of {self} are not resolved"
        return self.dims  # type: ignore[return-value]

    @property
    def size(self) -> Dim:
        return product(self.known_dims)

    def __str__(self) -> str:
        if self.dims is None:
            return f"{self.dtype.code}[*]"
        return f"{self.dtype.code}[{','.join('?' if d is None else str(d) for d in self.dims)}]"


_TYPE = re.compile(r"(\w+)\[(.*)\]\Z")


def parse_type(text: str) -> TensorType:
    """The inverse of `str` for int, named and unknown dims."""
    found = _TYPE.match(text.strip())
    if found is None or found[1] not in BY_CODE:
        raise ShapeError(f"{text!r} is not a tensor type such as f32[?,784]")
    if found[2] == "*":
        return TensorType(BY_CODE[found[1]], None)
    return TensorType(BY_CODE[found[1]], tuple(_parse_dim(d) for d in found[2].split(",") if d.strip()))


def _parse_dim(text: str) -> Dim | None:
    text = text.strip()
    if text == "?":
        return None
    return int(text) if text.lstrip("-").isdigit() else sym(text)


def as_dims(shape: Any) -> tuple[Dim | None, ...] | None:
    """Dims from what TF1 users write: None, an int, a list that may hold None, a TensorShape, Dimensions."""
    if shape is None:
        return None
    if isinstance(shape, TensorShape):
        shape = shape.dims
        return None if shape is None else tuple(d.value for d in shape)
    if isinstance(shape, (int, Dimension, Poly)) or not isinstance(shape, Iterable):
        shape = [shape]
    return tuple(_as_dim(d) for d in shape)


def _as_dim(value: Any) -> Dim | None:
    if value is None or isinstance(value, Poly):
        return value
    if isinstance(value, Dimension):
        return value.value
    try:
        number = int(value.__index__())
    except (AttributeError, TypeError):
        raise ShapeError(f"a dim is an int or None, not {value!r}") from None
    if number < 0:
        raise ShapeError(f"a dim is 0 or more, not {number}")
    return number
