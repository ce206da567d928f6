"""Training of dense networks."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks import tape
from tests.benchmarks.workload import Arrays, Values, Workload, labels, normal, weights


@dataclasses.dataclass(frozen=True)
class Logistic(Workload):
    """Logistic regression, 100x784, SGD step"""

    batch: int = 100
    features: int = 784
    key: ClassVar[str] = "logistic"
    mode: ClassVar[str] = "sgd"
    small: ClassVar[dict[str, Any]] = {"batch": 20, "features": 30}

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        y = labels(rng, self.batch, 2).astype(np.float32)
        return ({"w": normal(rng, self.features, scale=0.1), "b": np.zeros((), np.float32)},
                {"x": normal(rng, self.batch, self.features), "y": y})

    def flops(self) -> float:
        return 4 * self.batch * self.features + 12 * self.batch + 2 * self.features

    def reference(self, p: Values, d: Values) -> Any:
        z = (p.w.reshape(1, -1) * d.x).sum(1) + p.b
        return (tape.log(1.0 + tape.exp(z)) - z * d.y).mean()

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        z = tf.squeeze(tf.matmul(d.x, tf.expand_dims(p.w, 1)), 1) + p.b
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=d.y, logits=z))

    def jax(self, p: Values, d: Values) -> Any:
        import jax

        z = d.x @ p.w + p.b
        return (jax.nn.softplus(z) - z * d.y).mean()

    def torch(self, p: Values, d: Values) -> Any:
        from torch.nn import functional as F

        return F.binary_cross_entropy_with_logits(d.x @ p.w + p.b, d.y)

    def pytensor(self, p: Values, d: Values) -> Any:
        import pytensor.tensor as pt

        z = d.x @ p.w + p.b
        return pt.mean(pt.softplus(z) - z * d.y)


@dataclasses.dataclass(frozen=True)
class Mlp(Workload):
    """Dense relu network, Adam step"""

    sizes: tuple[int, ...] = (784, 512, 256, 10)
    batch: int = 128
    label: str = "mlp"
    key: ClassVar[str] = "mlp"
    mode: ClassVar[str] = "adam"
    dense: ClassVar[bool] = True
    small: ClassVar[dict[str, Any]] = {"sizes": (20, 16, 10), "batch": 12}

    @property
    def name(self) -> str:
        return self.label

    @property
    def group(self) -> str:
        return self.label

    @property
    def title(self) -> str:
        return f"MLP {'-'.join(map(str, self.sizes))}, batch {self.batch}, Adam step"

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        params: Arrays = {}
        for k, (a, b) in enumerate(pairwise(self.sizes)):
            params |= {f"w{k}": weights(rng, a, b), f"b{k}": np.zeros(b, np.float32)}
        x = normal(rng, self.batch, self.sizes[0])
        return params, {"x": x, "y": labels(rng, self.batch, self.sizes[-1])}

    def flops(self) -> float:
        products = [a * b for a, b in pairwise(self.sizes)]
        return 6 * self.batch * sum(products) - 2 * self.batch * products[0] + 12 * sum(products)

    def logits(self, p: Values, x: Any, relu: Any) -> Any:
        """The layers, in any framework."""
        last = len(self.sizes) - 2
        for k in range(last):
            x = relu(x @ p[f"w{k}"] + p[f"b{k}"])
        return x @ p[f"w{last}"] + p[f"b{last}"]

    def reference(self, p: Values, d: Values) -> Any:
        return tape.cross_entropy(self.logits(p, tape.node(d.x), tape.relu), d.y)

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        last = len(self.sizes) - 2
        x = d.x
        for k in range(last):
            x = tf.nn.relu(tf.matmul(x, p[f"w{k}"]) + p[f"b{k}"])
        logits = tf.matmul(x, p[f"w{last}"]) + p[f"b{last}"]
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=d.y, logits=logits))

    def jax(self, p: Values, d: Values) -> Any:
        import jax
        import jax.numpy as jnp

        scores = jax.nn.log_softmax(self.logits(p, d.x, jax.nn.relu))
        return -jnp.take_along_axis(scores, d.y[:, None], 1).mean()

    def torch(self, p: Values, d: Values) -> Any:
        import torch
        from torch.nn import functional as F

        x, last = d.x, len(self.sizes) - 2
        for k in range(last):
            x = F.relu(torch.addmm(p[f"b{k}"], x, p[f"w{k}"]))
        return F.cross_entropy(torch.addmm(p[f"b{last}"], x, p[f"w{last}"]), d.y)

    def pytensor(self, p: Values, d: Values) -> Any:
        import pytensor.tensor as pt

        zero = np.float32(0)
        scores = pt.special.log_softmax(self.logits(p, d.x, lambda x: pt.maximum(x, zero)), axis=1)
        return -pt.mean(scores[pt.arange(self.batch), d.y])
