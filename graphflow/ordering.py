"""Sorting, the k largest, permutations, and what counts or rearranges by index. TF1's signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphflow.arrays import (
    constant_value,
    expand_dims,
    gather,
    gather_nd,
    ones_like,
    range_,
    reshape,
    scatter_nd,
    shape,
    stack,
    transpose,
    unsorted_segment_sum,
    zeros_like,
)
from graphflow.basics import name_scope
from graphflow.compiler.errors import ShapeError, UnsupportedError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import as_dtype, int32, int64
from graphflow.compiler.ir.explain import misfit
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import elementwise, logic, sorting
from graphflow.math import cast
from graphflow.random import uniform

__all__ = ["argsort", "confusion_matrix", "histogram_fixed_width", "invert_permutation", "matrix_band_part",
           "random_crop", "random_shuffle", "reverse_sequence", "sort", "top_k", "unique",
           "unique_with_counts"]


class TopK(NamedTuple):
    """The largest values, and where they are."""

    values: Tensor
    indices: Tensor


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> TopK:
    """The k largest values along the last axis, in order, and their int32 positions; the first of equal ones.

    Raises:  ShapeError when the last axis has fewer than k elements
    """
    with name_scope(name, "TopKV2", [input]):
        x = as_tensor(input)
        indices = sorting.top_positions(x, k=k)
        return TopK(sorting.pick_last(x, indices), indices)


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None) -> Tensor:
    """The values in order along an axis; NaN comes last."""
    with name_scope(name, "sort", [values]):
        x, back = _axis_last(values, axis)
        order = sorting.argsort(x, descending=_descending(direction))
        result: Tensor = sorting.pick_last(x, order)
        return transpose(result, back) if back else result


def argsort(values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False,
            name: str | None = None) -> Tensor:
    """The int32 positions of the values in order along an axis; equal ones stay as they are."""
    with name_scope(name, "argsort", [values]):
        x, back = _axis_last(values, axis)
        result: Tensor = sorting.argsort(x, descending=_descending(direction))
        return transpose(result, back) if back else result


def _descending(direction: str) -> bool:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ValueError(f"sort: direction is ASCENDING or DESCENDING, not {direction!r}")
    return direction == "DESCENDING"


def _axis_last(values: Any, axis: int) -> tuple[Tensor, list[int]]:
    """The tensor with an axis moved to the end, and the permutation that moves it back; [] for none."""
    x = as_tensor(values)
    rank = x.type.rank
    if axis == -1 or (rank is not None and axis == rank - 1):
        return x, []
    if rank is None or not -rank <= axis < rank:
        raise ShapeError(f"sort: axis {axis} of {x.name}, which is {x.type}")
    rest = [k for k in range(rank) if k != axis % rank]
    order = [*rest, axis % rank]
    return transpose(x, order), [order.index(k) for k in range(rank)]


# Permutations


def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """y with y[x[i]] = i, for a permutation x of 0 .. n-1."""
    with name_scope(name, "InvertPermutation", [x]):
        p = as_tensor(x)
        n = shape(p)[0]
        return unsorted_segment_sum(range_(n, dtype=p.dtype), p, n)


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """The slices along axis 0 in a random order, drawn anew at each run."""
    with name_scope(name, "RandomShuffle", [value]):
        x = as_tensor(value)
        keys = uniform([shape(x)[0]], -2**63, 2**63 - 1, int64, seed)
        return gather(x, sorting.argsort(keys))


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """A block of a given size at a random place; numbers in `size` must be known when the graph is built."""
    with name_scope(name, "random_crop", [value]):
        x = as_tensor(value)
        wanted = [int(s) for s in size]
        if x.type.rank != len(wanted):
            raise ShapeError(f"random_crop: {len(wanted)} sizes for {x.name}, which is {x.type}")
        result = x
        for k, s in enumerate(wanted):
            known = (x.type.dims or ())[k]
            if isinstance(known, int) and s > known:
                raise ShapeError(f"random_crop: size {wanted} is larger than {x.name}, which is {x.type}")
            if s != known:
                room = cast(shape(x)[k] - s + 1, "float64")
                share = uniform([], 0.0, 1.0, "float64", None if seed is None else seed + k)
                first = cast(share * room, int32)
                result = gather(result, range_(s) + first, axis=k)
        return result


def reverse_sequence(input: Any, seq_lengths: Any, seq_axis: int | None = None, batch_axis: int | None = None,
                     name: str | None = None, seq_dim: int | None = None,
                     batch_dim: int | None = None) -> Tensor:
    """The first seq_lengths[b] elements of each sequence backwards, the rest as it is."""
    along = seq_axis if seq_axis is not None else seq_dim
    batch = next((a for a in (batch_axis, batch_dim) if a is not None), 0)
    with name_scope(name, "ReverseSequence", [input]):
        x, n = as_tensor(input), as_tensor(seq_lengths)
        if x.type.rank is None or along is None or along % x.type.rank == batch % x.type.rank:
            raise ShapeError(f"reverse_sequence: two different axes of {x.name} ({x.type}) are needed")
        first = [batch % x.type.rank, along % x.type.rank]
        order = [*first, *(k for k in range(x.type.rank) if k not in first)]
        places = expand_dims(range_(shape(x)[along], dtype=n.dtype), 0)
        n = expand_dims(n, 1)
        source = logic.where_v2(places < n, n - 1 - places, places)
        rows = expand_dims(range_(shape(x)[batch], dtype=n.dtype), 1) + zeros_like(source)
        turned = gather_nd(transpose(x, order), stack([rows, source], axis=-1))
        return transpose(turned, [order.index(k) for k in range(x.type.rank)])


# Matrices and counts


class Unique(NamedTuple):
    """Different values as they first occur, and for each element which of them it is."""

    y: Tensor
    idx: Tensor


class UniqueWithCounts(NamedTuple):
    """The same, and how often each value occurs."""

    y: Tensor
    idx: Tensor
    count: Tensor  # type: ignore[assignment]  # TF1's name, which is also a method of tuples


def unique(x: Any, out_idx: Any = int32, name: str | None = None) -> Unique:
    """The different values of a constant vector: how many there are in a computed one depends on values."""
    return Unique(*unique_with_counts(x, out_idx, name or "Unique")[:2])


def unique_with_counts(x: Any, out_idx: Any = int32, name: str | None = None) -> UniqueWithCounts:
    """The different values of a constant vector, and how often each occurs; else as `unique`."""
    t = as_tensor(x)
    known = constant_value(t)
    if known is None:
        raise UnsupportedError(
            "unique: how many values there are depends on them, so only a constant is supported\n"
            "hint: np.unique(values, return_inverse=True) before the run gives what to feed")
    if known.ndim != 1:
        raise ShapeError(f"unique: a vector is needed, but {t.name} is {t.type}")
    values, first, inverse, counts = np.unique(known, True, True, True, equal_nan=False)
    order = np.argsort(first)  # as they occur
    with name_scope(name, "UniqueWithCounts"):
        numbers = (as_tensor(n, as_dtype(out_idx)) for n in (np.argsort(order)[inverse], counts[order]))
        return UniqueWithCounts(as_tensor(values[order], t.dtype), *numbers)


def matrix_band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Tensor:
    """Matrices with zeros outside of a band: num_lower diagonals below and num_upper above; -1 for all."""
    with name_scope(name, "MatrixBandPart", [input]):
        x = as_tensor(input)
        if x.type.rank is None or x.type.rank < 2:
            raise misfit("matrix_band_part", "matrices are needed", operands={"input": x})
        below = expand_dims(range_(shape(x)[-2]), 1) - expand_dims(range_(shape(x)[-1]), 0)
        lower, upper = (cast(as_tensor(v), int32) for v in (num_lower, num_upper))
        inside = logic.logical_and(logic.logical_or(lower < 0, below <= lower),
                                   logic.logical_or(upper < 0, -below <= upper))
        result: Tensor = logic.where_v2(inside, x, as_tensor(0, x.dtype))
        return result


def confusion_matrix(labels: Any, predictions: Any, num_classes: Any = None, dtype: Any = int32,
                     name: str | None = None, weights: Any = None) -> Tensor:
    """How often a label (row) was predicted as a class (column), by number or by weight.

    Raises:  ValueError without num_classes: the size would depend on values
    """
    if num_classes is None:
        raise ValueError("confusion_matrix: num_classes is needed: without it the size depends on values")
    with name_scope(name, "confusion_matrix", [labels, predictions]):
        pairs = stack([cast(as_tensor(v), int64) for v in (labels, predictions)], axis=1)
        wanted = as_dtype(dtype)
        each = ones_like(pairs[:, 0], wanted) if weights is None else cast(as_tensor(weights), wanted)
        return scatter_nd(pairs, each, [num_classes, num_classes])


def histogram_fixed_width(values: Any, value_range: Any, nbins: Any = 100, dtype: Any = int32,
                          name: str | None = None) -> Tensor:
    """How many values fall into each of nbins equal parts of a range; the first and last take all beyond."""
    with name_scope(name, "histogram_fixed_width", [values]):
        x = reshape(as_tensor(values), [-1])
        low, high = (cast(v, "float64") for v in _pair(value_range))
        place = elementwise.floor((cast(x, "float64") - low) / (high - low) * float(nbins))
        place = elementwise.minimum(elementwise.maximum(place, as_tensor(0.0, place.dtype)),
                                    as_tensor(float(nbins) - 1, place.dtype))
        return unsorted_segment_sum(ones_like(x, as_dtype(dtype)), cast(place, int32), nbins)


def _pair(value_range: Any) -> Sequence[Tensor]:
    t = as_tensor(value_range)
    return t[0], t[1]
