"""Training of sequence models."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks import tape
from tests.benchmarks.workload import Arrays, Values, Workload, labels, normal, weights


@dataclasses.dataclass(frozen=True)
class Lstm(Workload):
    """LSTM, 28 steps unrolled, 28 inputs, 128 units, batch 128, Adam step"""

    steps: int = 28
    inputs: int = 28
    units: int = 128
    batch: int = 128
    key: ClassVar[str] = "lstm"
    mode: ClassVar[str] = "adam"
    dense: ClassVar[bool] = True
    small: ClassVar[dict[str, Any]] = {"steps": 3, "inputs": 5, "units": 8, "batch": 6}

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        bias = np.zeros(4 * self.units, np.float32)
        bias[self.units:2 * self.units] = 1  # forget gates start open
        params = {"wx": weights(rng, self.inputs, 4 * self.units), "b": bias,
                  "wh": weights(rng, self.units, 4 * self.units),
                  "wo": weights(rng, self.units, 10), "bo": np.zeros(10, np.float32)}
        x = normal(rng, self.steps, self.batch, self.inputs)
        return params, {"x": x, "y": labels(rng, self.batch, 10)}

    def flops(self) -> float:
        cell = 2 * (self.inputs + self.units) * 4 * self.units + 14 * self.units
        return 3.0 * self.steps * self.batch * cell

    def last(self, p: Values, projected: Any, zero: Any, split: Any, sigmoid: Any, tanh: Any,
             matmul: Any) -> Any:
        """The hidden state after all steps, in any framework; gates in the order i, f, g, o."""
        h = c = zero
        for t in range(self.steps):
            gates = projected[t] if t == 0 else projected[t] + matmul(h, p.wh)
            i, f, g, o = split(gates)
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            h = sigmoid(o) * tanh(c)
        return h

    def reference(self, p: Values, d: Values) -> Any:
        def split(z: Any) -> Any:
            return [z[:, k * self.units:(k + 1) * self.units] for k in range(4)]

        x = tape.node(d.x) @ p.wx + p.b
        h = self.last(p, x, 0.0, split, tape.sigmoid, tape.tanh, lambda a, b: a @ b)
        return tape.cross_entropy(h @ p.wo + p.bo, d.y)

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        flat = tf.reshape(d.x, [self.steps * self.batch, self.inputs])
        x = tf.reshape(tf.matmul(flat, p.wx) + p.b, [self.steps, self.batch, 4 * self.units])
        h = self.last(p, tf.unstack(x), tf.zeros([self.batch, self.units]), lambda z: tf.split(z, 4, 1),
                      tf.sigmoid, tf.tanh, tf.matmul)
        logits = tf.matmul(h, p.wo) + p.bo
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=d.y, logits=logits))

    def jax(self, p: Values, d: Values) -> Any:
        import jax
        import jax.numpy as jnp

        h = self.last(p, d.x @ p.wx + p.b, jnp.zeros((self.batch, self.units)), lambda z: jnp.split(z, 4, 1),
                      jax.nn.sigmoid, jnp.tanh, jnp.matmul)
        scores = jax.nn.log_softmax(h @ p.wo + p.bo)
        return -jnp.take_along_axis(scores, d.y[:, None], 1).mean()

    def torch(self, p: Values, d: Values) -> Any:
        import torch
        from torch.nn import functional as F

        zero = torch.zeros(1, self.batch, self.units)
        cell = [p.wx.t(), p.wh.t(), p.b, torch.zeros_like(p.b)]
        h = torch.lstm(d.x, (zero, zero), cell, True, 1, 0.0, True, False, False)[1]
        return F.cross_entropy(h[0] @ p.wo + p.bo, d.y)

    def pytensor(self, p: Values, d: Values) -> Any:
        import pytensor.tensor as pt

        def split(z: Any) -> Any:
            return [z[:, k * self.units:(k + 1) * self.units] for k in range(4)]

        h = self.last(p, d.x @ p.wx + p.b, pt.zeros((self.batch, self.units), dtype="float32"), split,
                      pt.sigmoid, pt.tanh, lambda a, b: a @ b)
        scores = pt.special.log_softmax(h @ p.wo + p.bo, axis=1)
        return -pt.mean(scores[pt.arange(self.batch), d.y])


@dataclasses.dataclass(frozen=True)
class Transformer(Workload):
    """Transformer block (pre-norm, gelu), B=8 T=128 D=256 H=4 FF=1024, Adam step"""

    batch: int = 8
    time: int = 128
    width: int = 256
    heads: int = 4
    hidden: int = 1024
    key: ClassVar[str] = "transformer"
    mode: ClassVar[str] = "adam"
    dense: ClassVar[bool] = True
    small: ClassVar[dict[str, Any]] = {"batch": 2, "time": 5, "width": 8, "heads": 2, "hidden": 12}

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        w, f = self.width, self.hidden
        params = {"wqkv": weights(rng, w, 3 * w), "wo": weights(rng, w, w), "w1": weights(rng, w, f),
                  "w2": weights(rng, f, w)}
        params |= {name: np.zeros(n, np.float32) for name, n in
                   (("bqkv", 3 * w), ("bo", w), ("b1", f), ("b2", w), ("offset1", w), ("offset2", w))}
        params |= {name: np.ones(w, np.float32) for name in ("scale1", "scale2")}
        return params, {k: normal(rng, self.batch, self.time, w) for k in ("x", "target")}

    def flops(self) -> float:
        rows, w = self.batch * self.time, self.width
        products = 2.0 * rows * (4 * w * w + 2 * w * self.hidden + 2 * self.time * w)
        return 3 * products + 12.0 * (4 * w * w + 2 * w * self.hidden)

    def apart(self, qkv: Any, transpose: Any, reshape: Any) -> Any:
        """[b, t, 3 * w] -> three of [b, heads, t, w / heads]"""
        parts = reshape(qkv, (self.batch, self.time, 3, self.heads, self.width // self.heads))
        parts = transpose(parts, (2, 0, 3, 1, 4))
        return parts[0], parts[1], parts[2]

    @property
    def scale(self) -> float:
        return 1 / math.sqrt(self.width // self.heads)

    def reference(self, p: Values, d: Values) -> Any:
        h = tape.layer_norm(tape.node(d.x), p.scale1, p.offset1)
        q, k, v = self.apart(h @ p.wqkv + p.bqkv, lambda a, axes: a.transpose(*axes),
                             lambda a, shape: a.reshape(*shape))
        a = tape.exp(tape.log_softmax((q @ k.transpose(0, 1, 3, 2)) * self.scale)) @ v
        x = a.transpose(0, 2, 1, 3).reshape(*d.x.shape) @ p.wo + p.bo + d.x
        h = tape.layer_norm(x, p.scale2, p.offset2)
        y = x + tape.gelu(h @ p.w1 + p.b1) @ p.w2 + p.b2
        return ((y - d.target) ** 2.0).mean()

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        rows = [self.batch * self.time, self.width]
        whole = [self.batch, self.time, self.width]

        def norm(x: Any, scale: Any, offset: Any) -> Any:
            mean, variance = tf.nn.moments(x, [-1], keep_dims=True)
            return tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-5)

        x = tf.reshape(d.x, rows)
        h = norm(x, p.scale1, p.offset1)
        q, k, v = self.apart(tf.matmul(h, p.wqkv) + p.bqkv, tf.transpose, tf.reshape)
        a = tf.matmul(tf.nn.softmax(tf.matmul(q, k, transpose_b=True) * self.scale), v)
        x = tf.matmul(tf.reshape(tf.transpose(a, [0, 2, 1, 3]), rows), p.wo) + p.bo + x
        h = tf.matmul(norm(x, p.scale2, p.offset2), p.w1) + p.b1
        h = 0.5 * h * (1.0 + tf.erf(h * math.sqrt(0.5)))
        y = x + tf.matmul(h, p.w2) + p.b2
        return tf.reduce_mean(tf.square(tf.reshape(y, whole) - d.target))

    def jax(self, p: Values, d: Values) -> Any:
        import jax
        import jax.numpy as jnp

        def norm(x: Any, scale: Any, offset: Any) -> Any:
            return jax.nn.standardize(x, axis=-1, epsilon=1e-5) * scale + offset

        h = norm(d.x, p.scale1, p.offset1)
        q, k, v = self.apart(h @ p.wqkv + p.bqkv, jnp.transpose, jnp.reshape)
        a = jax.nn.softmax((q @ k.swapaxes(-1, -2)) * self.scale) @ v
        x = a.transpose(0, 2, 1, 3).reshape(d.x.shape) @ p.wo + p.bo + d.x
        h = norm(x, p.scale2, p.offset2)
        y = x + jax.nn.gelu(h @ p.w1 + p.b1, approximate=False) @ p.w2 + p.b2
        return jnp.square(y - d.target).mean()

    def torch(self, p: Values, d: Values) -> Any:
        import torch
        from torch.nn import functional as F

        h = F.layer_norm(d.x, (self.width,), p.scale1, p.offset1, 1e-5)
        q, k, v = self.apart(h @ p.wqkv + p.bqkv, torch.permute, torch.reshape)
        a = F.scaled_dot_product_attention(q, k, v)
        x = a.transpose(1, 2).reshape(d.x.shape) @ p.wo + p.bo + d.x
        h = F.layer_norm(x, (self.width,), p.scale2, p.offset2, 1e-5)
        return F.mse_loss(x + F.gelu(h @ p.w1 + p.b1) @ p.w2 + p.b2, d.target)

    def pytensor(self, p: Values, d: Values) -> Any:
        import pytensor.tensor as pt

        number = np.float32

        def norm(x: Any, scale: Any, offset: Any) -> Any:
            centred = x - pt.mean(x, axis=-1, keepdims=True)
            variance = pt.mean(pt.sqr(centred), axis=-1, keepdims=True)
            return centred / pt.sqrt(variance + number(1e-5)) * scale + offset

        h = norm(d.x, p.scale1, p.offset1)
        q, k, v = self.apart(h @ p.wqkv + p.bqkv, pt.transpose, pt.reshape)
        a = pt.special.softmax((q @ k.transpose(0, 1, 3, 2)) * number(self.scale), axis=-1) @ v
        x = a.transpose(0, 2, 1, 3).reshape((self.batch, self.time, self.width)) @ p.wo + p.bo + d.x
        h = norm(x, p.scale2, p.offset2) @ p.w1 + p.b1
        h = number(0.5) * h * (number(1) + pt.erf(h * number(math.sqrt(0.5))))
        return pt.mean(pt.sqr(x + h @ p.w2 + p.b2 - d.target))
