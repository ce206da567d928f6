"""Sums of a matrix along each axis."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks.workload import Arrays, Values, Workload, normal


@dataclasses.dataclass(frozen=True)
class Sum(Workload):
    """Sum of 4096x4096"""

    axis: int | None = None
    size: int = 4096
    key: ClassVar[str] = "sum"
    small: ClassVar[dict[str, Any]] = {"size": 60}

    @property
    def name(self) -> str:
        return "sum all" if self.axis is None else f"sum axis {self.axis}"

    @property
    def title(self) -> str:
        return f"{self.name}, {self.size}x{self.size}"

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        # uniform: sums far from zero, so that a relative error means something
        return {}, {"x": (normal(rng, self.size, self.size) + 1).astype(np.float32)}

    def flops(self) -> float:
        return float(self.size ** 2)

    def reference(self, p: Values, d: Values) -> Any:
        return d.x.sum(self.axis)

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        return tf.reduce_sum(d.x, self.axis)

    def jax(self, p: Values, d: Values) -> Any:
        return d.x.sum(self.axis)

    def torch(self, p: Values, d: Values) -> Any:
        return d.x.sum(self.axis)

    def pytensor(self, p: Values, d: Values) -> Any:
        return d.x.sum(axis=self.axis)
