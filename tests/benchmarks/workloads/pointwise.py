"""Elementwise mathematics, with reductions along rows."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks import tape
from tests.benchmarks.workload import Arrays, Values, Workload, labels, normal

ROOT_HALF = math.sqrt(0.5)
EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class LayerNorm(Workload):
    """x + gelu(layer_norm(x)), 4096x1024"""

    rows: int = 4096
    width: int = 1024
    key: ClassVar[str] = "layernorm"
    small: ClassVar[dict[str, Any]] = {"rows": 40, "width": 24}

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        return ({"scale": normal(rng, self.width), "offset": normal(rng, self.width)},
                {"x": normal(rng, self.rows, self.width)})

    def moved(self, p: Arrays, d: Arrays) -> float:
        return 8.0 * self.rows * self.width

    def flops(self) -> float:
        return 14 * self.rows * self.width

    def reference(self, p: Values, d: Values) -> Any:
        return d.x + tape.gelu(tape.layer_norm(d.x, p.scale, p.offset))

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        mean, variance = tf.nn.moments(d.x, [1], keep_dims=True)
        y = tf.nn.batch_normalization(d.x, mean, variance, p.offset, p.scale, EPSILON)
        return d.x + 0.5 * y * (1.0 + tf.erf(y * ROOT_HALF))

    def jax(self, p: Values, d: Values) -> Any:
        import jax

        y = jax.nn.standardize(d.x, axis=-1, epsilon=EPSILON) * p.scale + p.offset
        return d.x + jax.nn.gelu(y, approximate=False)

    def torch(self, p: Values, d: Values) -> Any:
        from torch.nn import functional as F

        return d.x + F.gelu(F.layer_norm(d.x, (self.width,), p.scale, p.offset, 1e-5))

    def pytensor(self, p: Values, d: Values) -> Any:
        import pytensor.tensor as pt

        centred = d.x - pt.mean(d.x, axis=1, keepdims=True)
        variance = pt.mean(pt.sqr(centred), axis=1, keepdims=True)
        y = centred / pt.sqrt(variance + np.float32(EPSILON)) * p.scale + p.offset
        return d.x + np.float32(0.5) * y * (np.float32(1) + pt.erf(y * np.float32(ROOT_HALF)))


@dataclasses.dataclass(frozen=True)
class CrossEntropy(Workload):
    """Softmax cross-entropy and its gradient, 512x32000"""

    rows: int = 512
    classes: int = 32_000
    key: ClassVar[str] = "softmax"
    mode: ClassVar[str] = "gradient"
    small: ClassVar[dict[str, Any]] = {"rows": 16, "classes": 100}

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        return {"logits": normal(rng, self.rows, self.classes)}, {"y": labels(rng, self.rows, self.classes)}

    def flops(self) -> float:
        return 7 * self.rows * self.classes

    def reference(self, p: Values, d: Values) -> Any:
        return tape.cross_entropy(p.logits, d.y)

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=d.y, logits=p.logits))

    def jax(self, p: Values, d: Values) -> Any:
        import jax
        import jax.numpy as jnp

        return -jnp.take_along_axis(jax.nn.log_softmax(p.logits), d.y[:, None], 1).mean()

    def torch(self, p: Values, d: Values) -> Any:
        from torch.nn import functional as F

        return F.cross_entropy(p.logits, d.y)

    def pytensor(self, p: Values, d: Values) -> Any:
        import pytensor.tensor as pt

        scores = pt.special.log_softmax(p.logits, axis=1)
        return -pt.mean(scores[pt.arange(self.rows), d.y])


@dataclasses.dataclass(frozen=True)
class BlackScholes(Workload):
    """Black-Scholes call and put prices, 1,000,000 options"""

    count: int = 1_000_000
    key: ClassVar[str] = "black-scholes"
    small: ClassVar[dict[str, Any]] = {"count": 1000}
    rate: ClassVar[float] = 0.03
    volatility: ClassVar[float] = 0.2

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        spot, strike = (rng.uniform(50, 150, self.count).astype(np.float32) for _ in range(2))
        years = rng.uniform(0.2, 2, self.count).astype(np.float32)
        return {}, {"spot": spot, "strike": strike, "years": years}

    def moved(self, p: Arrays, d: Arrays) -> float:
        return 20.0 * self.count

    def flops(self) -> float:
        return 28 * self.count

    def prices(self, d: Values, log: Any, exp: Any, sqrt: Any, erf: Any, number: Any = float) -> Any:
        """Call and put, in any framework. Source: Black and Scholes 1973"""
        half, root_half = number(0.5), number(ROOT_HALF)
        growth = number(self.rate + 0.5 * self.volatility ** 2)

        def normal_cdf(x: Any) -> Any:
            return (erf(x * root_half) + number(1)) * half

        spread = sqrt(d.years) * number(self.volatility)
        d1 = (log(d.spot / d.strike) + d.years * growth) / spread
        due = d.strike * exp(d.years * number(-self.rate))
        call = d.spot * normal_cdf(d1) - due * normal_cdf(d1 - spread)
        return [call, call - d.spot + due]

    def reference(self, p: Values, d: Values) -> Any:
        return self.prices(d, np.log, np.exp, np.sqrt, tape.erf)

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        return self.prices(d, tf.log, tf.exp, tf.sqrt, tf.erf)

    def jax(self, p: Values, d: Values) -> Any:
        import jax
        import jax.numpy as jnp

        return self.prices(d, jnp.log, jnp.exp, jnp.sqrt, jax.scipy.special.erf)

    def torch(self, p: Values, d: Values) -> Any:
        import torch

        return self.prices(d, torch.log, torch.exp, torch.sqrt, torch.erf)

    def pytensor(self, p: Values, d: Values) -> Any:
        import pytensor.tensor as pt

        return self.prices(d, pt.log, pt.exp, pt.sqrt, pt.erf, np.float32)
