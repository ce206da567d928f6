"""What TF1's convolution and pooling calls have in common: data formats, and numbers per axis."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from graphflow.arrays import transpose
from graphflow.basics import name_scope
from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.symbolic import dims_attr

_FORMATS = {"NWC": 1, "NCW": 1, "NHWC": 2, "NCHW": 2, "NDHWC": 3, "NCDHW": 3}


def channels_first(function: str, data_format: str | None, rank: int) -> bool:
    """Whether channels are axis 1; the format must be one for so many spatial axes."""
    if data_format is None:
        return False
    fits = _FORMATS.get(data_format)
    if fits != rank and not (rank == 1 and fits == 2):  # TF 1 also said "NHWC" for one spatial axis
        known = " or ".join(f for f, r in _FORMATS.items() if r == rank)
        raise ShapeError(f"{function}: data_format {data_format!r} is not {known}")
    return data_format.startswith("NC")


def per_axis(function: str, what: str, value: Any, rank: int, first: bool = False) -> tuple[int, ...]:
    """A number for each spatial axis, from one for all, one for each, or one for each axis of the tensor."""
    if value is None:
        return (1,) * rank
    given = tuple(value) if isinstance(value, Iterable) else (value,)
    if any(int(v) != v for v in given):
        raise ShapeError(f"{function}: {what} {list(given)} must hold whole numbers")
    numbers = tuple(map(int, given))
    if len(numbers) == 1:
        return numbers * rank
    if len(numbers) == rank:
        return numbers
    if len(numbers) != rank + 2:
        raise ShapeError(f"{function}: {what} {list(numbers)} must hold 1, {rank} or {rank + 2} numbers")
    spatial = numbers[2:] if first else numbers[1:-1]
    if sorted(numbers) != sorted((1, 1, *spatial)):
        raise ShapeError(f"{function}: {what} {list(numbers)} must be 1 for the batch and the channels")
    return spatial


def paddings(function: str, padding: Any, rank: int, first: bool = False) -> Any:
    """"SAME", "VALID" or pairs for the spatial axes, from pairs for them or for all axes of the tensor."""
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise ShapeError(f"{function}: padding {padding!r} is neither 'SAME' nor 'VALID'")
        return padding.upper()
    if padding is None:
        raise ShapeError(f"{function}: padding must be given: 'SAME', 'VALID' or a list of pairs")
    pairs = tuple((int(before), int(after)) for before, after in padding)
    if len(pairs) == rank + 2:
        spatial = pairs[2:] if first else pairs[1:-1]
        if pairs != ((0, 0), (0, 0), *spatial) and pairs != ((0, 0), *spatial, (0, 0)):
            raise ShapeError(f"{function}: padding {list(pairs)} must be (0, 0) for batch and channels")
        return spatial
    if len(pairs) != rank:
        raise ShapeError(f"{function}: padding {list(pairs)} must hold {rank} or {rank + 2} pairs")
    return pairs


def spatial_rank(function: str, x: Tensor) -> int:
    rank = x.type.rank
    if rank is None or rank < 3:
        raise ShapeError(f"{function}: {x.name} must have a known rank of 3 or more, batch, spatial axes and "
                         f"channels, but it is {x.type}, made at {x.op.source[0]}:{x.op.source[1]}")
    return rank - 2


def sizes(function: str, what: str, value: Any, count: int) -> tuple[Any, ...]:
    """A shape given by the caller, as dims; they may depend on other shapes and on fed integers."""
    dims = dims_attr(value)
    if not isinstance(dims, tuple) or len(dims) != count:
        raise ShapeError(f"{function}: {what} must hold {count} numbers, not {value!r}; how many there are "
                         f"must be known while the graph is built")
    if any(isinstance(d, int) and d < 0 for d in dims):
        raise ShapeError(f"{function}: {what} {list(dims)} has a number below 0\n"
                         f"hint: tf.shape(x)[k] gives a dim that only the run knows")
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
