"""What TF1's convolution and pooling calls have in common: data formats, and numbers per axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphflow.arrays import transpose
from graphflow.basics import name_scope
from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.explain import location, misfit
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.symbolic import dims_attr

_FORMATS = {"NWC": 1, "NCW": 1, "NHWC": 2, "NCHW": 2, "NDHWC": 3, "NCDHW": 3}


def channels_first(function: str, data_format: str | None, rank: int) -> bool:
    """Whether channels are axis 1; the format must be one for so many spatial axes."""
    if data_format is None:
        return False
    fits = _FORMATS.get(data_format) if isinstance(data_format, str) else None
    if fits != rank and not (rank == 1 and fits == 2):  # TF 1 also said "NHWC" for one spatial axis
        known = " or ".join(f for f, r in _FORMATS.items() if r == rank)
        raise misfit(function, f"data_format {data_format!r} is not {known}")
    return data_format.startswith("NC")


def per_axis(function: str, what: str, value: Any, rank: int, first: bool = False) -> tuple[int, ...]:
    """A number for each spatial axis, from one for all, one for each, or one for each axis of the tensor."""
    if value is None:
        return (1,) * rank
    numbers = tuple(map(_whole, _items(value)))
    if any(n is None or n < 1 for n in numbers):
        raise misfit(f"{function} (C3)", f"{what} must be whole numbers of 1 or more, known while the graph "
                                         f"is built, not {value!r}")
    if len(numbers) == 1:
        return numbers * rank
    if len(numbers) == rank:
        return numbers
    if len(numbers) != rank + 2:
        raise misfit(function, f"{what} {list(numbers)} must hold 1, {rank} or {rank + 2} numbers")
    spatial = numbers[2:] if first else numbers[1:-1]
    if sorted(numbers) != sorted((1, 1, *spatial)):
        raise misfit(function, f"{what} {list(numbers)} must be 1 for the batch and the channels, axes 0 and "
                               f"{1 if first else rank + 1}")
    return spatial


def paddings(function: str, padding: Any, rank: int, first: bool = False) -> Any:
    """"SAME", "VALID" or pairs for the spatial axes, from pairs for them or for all axes of the tensor."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return padding.upper()
    pairs = tuple(tuple(map(_whole, _items(pair))) for pair in _items(padding))
    if any(len(pair) != 2 or None in pair or min(pair) < 0 for pair in pairs):
        raise misfit(f"{function} (C4)", f"padding must be 'SAME', 'VALID' or a list of pairs of numbers of "
                                         f"0 or more, not {padding!r}")
    if len(pairs) == rank + 2:
        spatial = pairs[2:] if first else pairs[1:-1]
        if pairs != ((0, 0), (0, 0), *spatial) and pairs != ((0, 0), *spatial, (0, 0)):
            raise misfit(function, f"padding {list(pairs)} must be (0, 0) for batch and channels")
        return spatial
    if len(pairs) != rank:
        raise misfit(function, f"padding {list(pairs)} must hold {rank} or {rank + 2} pairs")
    return pairs


def _items(value: Any) -> tuple[Any, ...]:
    """The items of a list, array or shape; a tensor, a text and the like are one."""
    try:
        return (value,) if isinstance(value, (str, bytes, Tensor)) else tuple(value)
    except TypeError:
        return (value,)


def _whole(value: Any) -> Any:
    """An int, from whatever holds a whole number; None for all else."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number == value else None


def spatial_rank(function: str, x: Tensor) -> int:
    rank = x.type.rank
    if rank is None or rank < 3:
        raise misfit(function, f"{x.name} must have a known rank of 3 or more, batch, spatial axes and "
                               f"channels, but it is {x.type}, made at {location(x)}")
    return rank - 2


def sizes(function: str, what: str, value: Any, count: int) -> tuple[Any, ...]:
    """A shape given by the caller, as dims; they may depend on other shapes and on fed integers."""
    try:
        dims = dims_attr(value)
    except ShapeError as e:
        raise misfit(function, f"{what} {value!r}: {e}") from None
    if not isinstance(dims, tuple) or len(dims) != count or any(isinstance(d, tuple) for d in dims):
        raise misfit(function, f"{what} must hold {count} numbers, not {value!r}; how many there are must be "
                               f"known while the graph is built")
    if any(isinstance(d, int) and d < 0 for d in dims):
        raise misfit(function, f"{what} {list(dims)} has a number below 0",
                     hint="tf.shape(x)[k] gives a dim that only the run knows")
    return dims


def to_last(x: Tensor) -> Tensor:
    """[b, c, spatial...] -> [b, spatial..., c]"""
    rank = x.type.rank
    if rank is None:
        raise ShapeError(f"the rank of {x.name} must be known where channels are axis 1")
    return transpose(x, [0, *range(2, rank), 1])


def apply(record: Callable[..., Tensor], x: Tensor, first: bool, name: str) -> Tensor:
    """`record(x, name=)` on channels last; with channels first between two transposes."""
    if not first:
        return record(x, name=name)
    with name_scope(name) as scope:
        y = record(to_last(x), name=None)
        rank = y.type.rank
        assert rank is not None
        return transpose(y, [0, rank - 1, *range(1, rank - 1)], name=scope)
