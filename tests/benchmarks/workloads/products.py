"""Matrix products: square, tall, skinny, batched; float32 and float64."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks.workload import Arrays, Values, Workload, normal


@dataclasses.dataclass(frozen=True)
class MatMul(Workload):
    """a @ b"""

    m: int
    k: int
    n: int
    batch: tuple[int, ...] = ()
    dtype: str = "float32"
    key: ClassVar[str] = "matmul"
    dense: ClassVar[bool] = True

    @property
    def name(self) -> str:
        batch = "".join(f"{b}x" for b in self.batch)
        return f"matmul {'f' + self.dtype[-2:]} {batch}{self.m}x{self.k}x{self.n}"

    @property
    def title(self) -> str:
        return self.name

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        a, b = normal(rng, *self.batch, self.m, self.k), normal(rng, *self.batch, self.k, self.n)
        return {}, {"a": a.astype(self.dtype), "b": b.astype(self.dtype)}

    def moved(self, p: Arrays, d: Arrays) -> float:
        return super().moved(p, d) + math.prod(self.batch) * self.m * self.n * np.dtype(self.dtype).itemsize

    def flops(self) -> float:
        return 2.0 * math.prod(self.batch) * self.m * self.k * self.n

    def reference(self, p: Values, d: Values) -> Any:
        return d.a @ d.b

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        return tf.matmul(d.a, d.b)

    def jax(self, p: Values, d: Values) -> Any:
        return d.a @ d.b

    def torch(self, p: Values, d: Values) -> Any:
        return d.a @ d.b

    def pytensor(self, p: Values, d: Values) -> Any:
        return d.a @ d.b


SHAPES: tuple[tuple[Any, ...], ...] = (
    (16, 16, 16), (64, 64, 64), (128, 128, 128), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024),
    (1000, 1000, 1000),                                     # no power of two
    (8192, 64, 64), (64, 8192, 64), (64, 64, 8192),         # one long side
    (128, 784, 512), (1, 1024, 1024), (1024, 1024, 1),      # layers; vectors
    (4096, 16, 16), (2048, 4, 2048),                        # skinny
    (128, 32, 128, (32,)), (64, 64, 64, (8, 12)),           # batches, as attention has them
    (256, 256, 256, (), "float64"), (1024, 1024, 1024, (), "float64"), (4096, 32, 32, (), "float64"),
)
PRODUCTS = tuple(MatMul(*shape) for shape in SHAPES)
