"""Keyword arguments that TF1 renamed over its life: both spellings work."""

from __future__ import annotations

from typing import Any

import numpy as np


def either(function: str, new_name: str, new: Any, **old: Any) -> Any:
    """The value given under the new name or one of the old ones; ValueError when two are given."""
    given = {k: v for k, v in ({new_name: new} | old).items() if v is not None}
    if len(given) > 1:
        raise ValueError(f"{function}: {' and '.join(given)} mean the same; give one of them")
    return next(iter(given.values()), None)


def is_int(value: Any) -> bool:
    """A plain integer, as in the argument orders of TF 0.x: `tf.concat(1, values)`."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def plain_axis(axis: Any) -> Any:
    """An axis as an int or a list of ints, from arrays and ranges."""
    if isinstance(axis, np.ndarray):
        return axis.tolist()
    return list(axis) if isinstance(axis, range) else axis


def as_shape(shape: Any) -> Any:
    """One number for a shape stands for one axis of so many elements."""
    return [shape] if is_int(shape) else shape
