"""TensorShape and Dimension: what `tensor.shape` gives a user, with TF1's methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.dims import Poly, product


class Dimension:
    """One dim of a shape; `.value` is an int, or None when it is unknown."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        if isinstance(value, Dimension):
            value = value.value
        self.value: int | None = None if value is None or isinstance(value, Poly) else int(value)
        if self.value is not None and self.value < 0:
            raise ShapeError(f"a dim is 0 or more, not {self.value}")

    def _known(self) -> int:
        if self.value is None:
            raise TypeError("this dim is unknown until a run: use tf.shape(tensor)[axis] for its value")
        return self.value

    __int__ = __index__ = _known

    def __eq__(self, other: Any) -> Any:
        other = other.value if isinstance(other, Dimension) else other
        return None if self.value is None or other is None else self.value == other

    def __hash__(self) -> int:
        return hash(self.value)

    def _binary(self, other: Any, op: Any) -> Dimension:
        other = other.value if isinstance(other, Dimension) else other
        return Dimension(None if self.value is None or other is None else op(self.value, int(other)))

    def __add__(self, other: Any) -> Dimension:
        return self._binary(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Dimension:
        return self._binary(other, lambda a, b: a - b)

    def __mul__(self, other: Any) -> Dimension:
        return self._binary(other, lambda a, b: a * b)

    def __floordiv__(self, other: Any) -> Dimension:
        return self._binary(other, lambda a, b: a // b)

    def __mod__(self, other: Any) -> Dimension:
        return self._binary(other, lambda a, b: a % b)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Any) -> Dimension:
        return Dimension(other) - self

    def __lt__(self, other: Any) -> bool:
        return self._known() < int(other)

    def __gt__(self, other: Any) -> bool:
        return self._known() > int(other)

    def __le__(self, other: Any) -> bool:
        return self._known() <= int(other)

    def __ge__(self, other: Any) -> bool:
        return self._known() >= int(other)

    def __repr__(self) -> str:
        return f"Dimension({self.value})"

    def __str__(self) -> str:
        return "?" if self.value is None else str(self.value)


class TensorShape:
    """The static shape of a tensor: a tuple of Dimensions, or unknown rank."""

    __slots__ = ("_values",)

    def __init__(self, dims: Any) -> None:
        if isinstance(dims, TensorShape):
            self._values: tuple[int | None, ...] | None = dims._values
        elif dims is None:
            self._values = None
        else:
            given = (dims,) if isinstance(dims, (int, Dimension)) else dims
            self._values = tuple([d if type(d) is int and d >= 0 else Dimension(d).value for d in given])

    @property
    def dims(self) -> list[Dimension] | None:
        return None if self._values is None else [Dimension(v) for v in self._values]

    @property
    def ndims(self) -> int | None:
        return None if self._values is None else len(self._values)

    rank = ndims

    def as_list(self) -> list[int | None]:
        if self._values is None:
            raise ShapeError("as_list() of a shape of unknown rank")
        return list(self._values)

    def num_elements(self) -> int | None:
        if not self.is_fully_defined():
            return None
        return int(product(self._values or ()))  # type: ignore[arg-type]

    def is_fully_defined(self) -> bool:
        return self._values is not None and None not in self._values

    def assert_is_fully_defined(self) -> None:
        if not self.is_fully_defined():
            raise ShapeError(f"shape {self} is not fully defined")

    def is_compatible_with(self, other: Any) -> bool:
        other = TensorShape(other)
        if self._values is None or other._values is None:
            return True
        return len(self._values) == len(other._values) and all(
            a == b or a is None or b is None for a, b in zip(self._values, other._values, strict=True))

    def assert_is_compatible_with(self, other: Any) -> None:
        if not self.is_compatible_with(other):
            raise ShapeError(f"shapes {self} and {TensorShape(other)} are incompatible")

    def merge_with(self, other: Any) -> TensorShape:
        self.assert_is_compatible_with(other)
        other = TensorShape(other)
        if self._values is None or other._values is None:
            return other if self._values is None else self
        pairs = zip(self._values, other._values, strict=True)
        return TensorShape([b if a is None else a for a, b in pairs])

    def concatenate(self, other: Any) -> TensorShape:
        other = TensorShape(other)
        known = self._values is not None and other._values is not None
        return TensorShape(self._values + other._values if known else None)

    def __len__(self) -> int:
        if self._values is None:
            raise ShapeError("len() of a shape of unknown rank")
        return len(self._values)

    def __bool__(self) -> bool:
        return self._values is not None

    def __iter__(self) -> Iterator[Dimension]:
        if self._values is None:
            raise ShapeError("cannot iterate over a shape of unknown rank")
        return iter(self.dims or ())

    @overload
    def __getitem__(self, key: int) -> Dimension: ...
    @overload
    def __getitem__(self, key: slice) -> TensorShape: ...
    def __getitem__(self, key: Any) -> Any:
        if self._values is None:
            return TensorShape(None) if isinstance(key, slice) else Dimension(None)
        return (TensorShape if isinstance(key, slice) else Dimension)(self._values[key])

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, (TensorShape, Sequence, Dimension, int)) and other is not None:
            return NotImplemented
        try:
            other = TensorShape(other)
        except (TypeError, ValueError):
            return NotImplemented
        return bool(self._values == other._values)

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return f"TensorShape({self.dims})"

    def __str__(self) -> str:
        if self._values is None:
            return "<unknown>"
        inner = ", ".join("?" if v is None else str(v) for v in self._values)
        return f"({inner},)" if len(self._values) == 1 else f"({inner})"
