"""The tests that an op record carries: operand shapes and values, and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np

from graphflow.compiler.ir.dtypes import DType, float32
from graphflow.compiler.records import record

Shape = tuple[int, ...]


@record
class Sample:
    """One call of an op.

    operands  a shape (filled with seeded values in [low, high)) or an array, per operand
    attrs     the attributes of the call
    dtype     of the operands given as shapes
    smooth    False where the op has no derivative at these values: gradients are not checked
    """

    operands: tuple[Any, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    dtype: DType = float32
    low: float = -2.0
    high: float = 2.0
    smooth: bool = True

    def arrays(self, dtype: DType | None = None) -> list[np.ndarray[Any, Any]]:
        """The operands; `dtype` replaces a float dtype (gradient checks run in float64)."""
        rng = np.random.default_rng(7)
        return [self._array(spec, dtype, rng) for spec in self.operands]

    def _array(self, spec: Any, dtype: DType | None, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        if not isinstance(spec, tuple):
            array = np.asarray(spec)
            return array.astype(dtype.numpy) if dtype and array.dtype.kind == "f" else array
        wanted = dtype if dtype and self.dtype.is_floating else self.dtype
        if wanted.is_floating:
            return rng.uniform(self.low, self.high, spec).astype(wanted.numpy)
        if wanted.is_bool:
            return rng.integers(0, 2, spec).astype(bool)
        low = max(int(self.low), 0) if wanted.is_unsigned else int(self.low)
        return rng.integers(low, int(self.high) + 1, spec).astype(wanted.numpy)


def shapes(*calls: Sequence[Shape], **options: Any) -> tuple[Sample, ...]:
    """One sample per call, each a list of operand shapes; options are Sample's fields or attributes."""
    fields = {k: options.pop(k) for k in ("dtype", "low", "high", "smooth") if k in options}
    return tuple(Sample(tuple(call), attrs=dict(options), **fields) for call in calls)


# zero size, scalars, a tail shorter than a vector, a vector and a bit
UNARY: tuple[Sequence[Shape], ...] = ([()], [(5,)], [(3, 4)], [(0, 3)], [(37,)])
BINARY: tuple[Sequence[Shape], ...] = ([(), ()], [(3, 4), (3, 4)], [(3, 4), (4,)], [(3, 1), (1, 4)],
                                       [(5,), ()],
                                      [(0, 4), (4,)], [(2, 3, 4), (3, 1)], [(), (19,)])
