"""What a call costs beyond its work."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks.workload import Arrays, Values, Workload


@dataclasses.dataclass(frozen=True)
class Call(Workload):
    """x * 2 + 1 on 8 floats"""

    by_run: bool = False  # by Session.run, else by make_callable
    key: ClassVar[str] = "call"

    @property
    def name(self) -> str:
        return "call run" if self.by_run else "call callable"

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        return {}, {"x": np.arange(8, dtype=np.float32)}

    def flops(self) -> float:
        return 16

    def reference(self, p: Values, d: Values) -> Any:
        return d.x * 2 + 1

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        return d.x * 2 + 1

    def jax(self, p: Values, d: Values) -> Any:
        return d.x * 2 + 1

    def torch(self, p: Values, d: Values) -> Any:
        return d.x * 2 + 1

    def pytensor(self, p: Values, d: Values) -> Any:
        return d.x * np.float32(2) + np.float32(1)
