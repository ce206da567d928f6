"""Deep graphs and loops of tiny steps: what is measured is the compiler and the cost of a step."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks import tape
from tests.benchmarks.workload import Arrays, Values, Workload, normal


@dataclasses.dataclass(frozen=True)
class Chain(Workload):
    """300 layers of tanh(x * w), 16 wide, with gradients"""

    depth: int = 300
    width: int = 16
    key: ClassVar[str] = "chain"
    mode: ClassVar[str] = "gradient"
    small: ClassVar[dict[str, Any]] = {"depth": 20}

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        w = (1.01 + 0.01 * rng.random(self.width)).astype(np.float32)
        return {"x": normal(rng, self.width), "w": w}, {}

    def flops(self) -> float:
        return 8.0 * self.depth * self.width

    def chained(self, p: Values, tanh: Any) -> Any:
        y = p.x
        for _ in range(self.depth):
            y = tanh(y * p.w)
        return y

    def reference(self, p: Values, d: Values) -> Any:
        return self.chained(p, tape.tanh).sum()

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        return tf.reduce_sum(self.chained(p, tf.tanh))

    def jax(self, p: Values, d: Values) -> Any:
        import jax.numpy as jnp

        return self.chained(p, jnp.tanh).sum()

    def torch(self, p: Values, d: Values) -> Any:
        import torch

        return self.chained(p, torch.tanh).sum()

    def pytensor(self, p: Values, d: Values) -> Any:
        import pytensor.tensor as pt

        return self.chained(p, pt.tanh).sum()


@dataclasses.dataclass(frozen=True)
class Recurrence(Workload):
    """1,000 steps of x = a * sin(x) + b as a while loop, with gradients"""

    steps: int = 1000
    key: ClassVar[str] = "recurrence"
    mode: ClassVar[str] = "gradient"
    small: ClassVar[dict[str, Any]] = {"steps": 30}
    skips: ClassVar[dict[str, str]] = {"torch.compile": "it unrolls Python loops: 1,000 steps take minutes"}

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        start = {"x": 0.5, "a": 0.9, "b": 0.3}
        return {k: np.array(v, np.float32) for k, v in start.items()}, {}

    def flops(self) -> float:
        return 9.0 * self.steps

    def reference(self, p: Values, d: Values) -> Any:
        x = p.x
        for _ in range(self.steps):
            now = x.value
            sine = tape.Node(np.sin(now), (x, lambda g, now=now: g * np.cos(now)))
            x = p.a * sine + p.b
        return x

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        _, x = tf.while_loop(lambda i, x: i < self.steps, lambda i, x: (i + 1, p.a * tf.sin(x) + p.b),
                             (tf.constant(0), tf.identity(p.x)))
        return x

    def jax(self, p: Values, d: Values) -> Any:
        import jax
        import jax.numpy as jnp

        return jax.lax.fori_loop(0, self.steps, lambda i, x: p.a * jnp.sin(x) + p.b, p.x)

    def torch(self, p: Values, d: Values) -> Any:
        import torch

        x = p.x
        for _ in range(self.steps):
            x = p.a * torch.sin(x) + p.b
        return x

    def pytensor(self, p: Values, d: Values) -> Any:
        import pytensor
        import pytensor.tensor as pt

        xs = pytensor.scan(lambda x, a, b: a * pt.sin(x) + b, outputs_info=p.x, non_sequences=[p.a, p.b],
                           n_steps=self.steps, strict=True, return_updates=False)
        return xs[-1]
