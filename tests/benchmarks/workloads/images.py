"""Convolutional networks: NHWC images, [k, k, in, out] filters, SAME padding."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks import tape
from tests.benchmarks.workload import Arrays, Values, Workload, labels, normal, weights

NO_CONVOLUTION = {"pytensor": "no two-dimensional convolution in its numba linker"}


@dataclasses.dataclass(frozen=True)
class LeNet(Workload):
    """LeNet: 5x5x32, pool, 5x5x64, pool, dense 1024, batch 50, Adam step"""

    batch: int = 50
    side: int = 28
    channels: tuple[int, int] = (32, 64)
    units: int = 1024
    key: ClassVar[str] = "lenet"
    mode: ClassVar[str] = "adam"
    dense: ClassVar[bool] = True
    images: ClassVar[bool] = True
    # many of its gradients are near 1e-8, where it matters on which side of the square root Adam's epsilon is
    tolerance: ClassVar[float] = 1e-3
    small: ClassVar[dict[str, Any]] = {"batch": 3, "side": 8, "channels": (4, 5), "units": 12}
    skips: ClassVar[dict[str, str]] = NO_CONVOLUTION

    @property
    def features(self) -> int:
        return (self.side // 4) ** 2 * self.channels[1]

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        a, b = self.channels
        shapes = {"1": (5, 5, 1, a), "2": (5, 5, a, b), "3": (self.features, self.units),
                  "4": (self.units, 10)}
        params: Arrays = {}
        for k, shape in shapes.items():
            params |= {f"w{k}": weights(rng, *shape), f"b{k}": np.zeros(shape[-1], np.float32)}
        x = normal(rng, self.batch, self.side, self.side, 1)
        return params, {"x": x, "y": labels(rng, self.batch, 10)}

    def flops(self) -> float:
        a, b = self.channels
        first = 25 * a * self.side ** 2
        second = 25 * a * b * (self.side // 2) ** 2
        dense = self.features * self.units + self.units * 10
        # the first layer needs no gradient of its input
        return self.batch * (4.0 * first + 6.0 * (second + dense)) + 12.0 * (25 * a * (1 + b) + dense)

    def reference(self, p: Values, d: Values) -> Any:
        x = tape.node(d.x)
        for k in "12":
            x = tape.max_pool(tape.relu(tape.convolve(x, p["w" + k]) + p["b" + k]), 2, 2)
        x = tape.relu(x.reshape(self.batch, self.features) @ p.w3 + p.b3)
        return tape.cross_entropy(x @ p.w4 + p.b4, d.y)

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        x = d.x
        for k in "12":
            x = tf.nn.relu(tf.nn.conv2d(x, p["w" + k], strides=[1, 1, 1, 1], padding="SAME") + p["b" + k])
            x = tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
        x = tf.nn.relu(tf.matmul(tf.reshape(x, [self.batch, self.features]), p.w3) + p.b3)
        logits = tf.matmul(x, p.w4) + p.b4
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=d.y, logits=logits))

    def jax(self, p: Values, d: Values) -> Any:
        import jax
        import jax.numpy as jnp

        x = d.x
        for k in "12":
            x = jax.nn.relu(_jax_convolve(x, p["w" + k], 1) + p["b" + k])
            x = _jax_pool(x, 2, 2)
        x = jax.nn.relu(x.reshape(self.batch, self.features) @ p.w3 + p.b3)
        scores = jax.nn.log_softmax(x @ p.w4 + p.b4)
        return -jnp.take_along_axis(scores, d.y[:, None], 1).mean()

    def torch(self, p: Values, d: Values) -> Any:
        from torch.nn import functional as F

        x = d.x
        for k in "12":
            x = F.max_pool2d(F.relu(F.conv2d(x, p["w" + k], p["b" + k], padding=2)), 2)
        # features in the order of the others, which is that of the memory
        x = x.permute(0, 2, 3, 1).reshape(self.batch, self.features)
        return F.cross_entropy(F.relu(x @ p.w3 + p.b3) @ p.w4 + p.b4, d.y)


@dataclasses.dataclass(frozen=True)
class ResNet(Workload):
    """ResNet-18-shaped inference, batch norms folded into the convolutions"""

    batch: int = 1
    side: int = 224
    widths: tuple[int, ...] = (64, 128, 256, 512)
    classes: int = 1000
    key: ClassVar[str] = "resnet18"
    dense: ClassVar[bool] = True
    images: ClassVar[bool] = True
    small: ClassVar[dict[str, Any]] = {"batch": 2, "side": 32, "widths": (4, 6), "classes": 7}
    skips: ClassVar[dict[str, str]] = NO_CONVOLUTION

    @property
    def name(self) -> str:
        return f"resnet18 batch {self.batch}"

    @property
    def group(self) -> str:
        return self.name

    @property
    def title(self) -> str:
        return f"ResNet-18-shaped inference, batch {self.batch}"

    def layers(self) -> dict[str, tuple[int, int, int, int, int]]:
        """name -> kernel size, channels in, channels out, stride, side of the output"""
        found = {"stem": (7, 3, self.widths[0], 2, -(-self.side // 2))}
        side, before = -(-self.side // 4), self.widths[0]
        for s, width in enumerate(self.widths):
            for b in range(2):
                stride = 2 if s and not b else 1
                side = -(-side // stride)
                block = f"s{s}b{b}"
                found[block + "c1"] = 3, before, width, stride, side
                found[block + "c2"] = 3, width, width, 1, side
                if stride == 2:
                    found[block + "skip"] = 1, before, width, 2, side
                before = width
        return found

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        params: Arrays = {}
        for name, (size, before, after, _, _) in self.layers().items():
            gain = np.float32(0.3 if name.endswith("c2") else 1)  # residual sums must not grow
            params[name] = weights(rng, size, size, before, after) * gain
            params[name + "_bias"] = normal(rng, after, scale=0.1)
        params["out"] = weights(rng, self.widths[-1], self.classes)
        params["out_bias"] = normal(rng, self.classes)
        return params, {"x": normal(rng, self.batch, self.side, self.side, 3)}

    def flops(self) -> float:
        total = sum(2.0 * k * k * a * b * side * side for k, a, b, _, side in self.layers().values())
        return self.batch * (total + 2 * self.widths[-1] * self.classes)

    def forward(self, p: Values, x: Any, conv: Any, relu: Any, pool: Any, add: Any = operator.add) -> Any:
        """The features before the mean over the image, in any framework."""
        layers = self.layers()

        def layer(x: Any, name: str) -> Any:
            return conv(x, p[name], p[name + "_bias"], layers[name][3])

        x = pool(relu(layer(x, "stem")))
        for s in range(len(self.widths)):
            for b in range(2):
                block = f"s{s}b{b}"
                y = layer(relu(layer(x, block + "c1")), block + "c2")
                x = relu(add(y, layer(x, block + "skip") if block + "skip" in layers else x))
        return x

    def reference(self, p: Values, d: Values) -> Any:
        filters = Values({k: tape.node(v) for k, v in p.items()})
        x = self.forward(filters, tape.node(d.x), lambda x, w, b, stride: tape.convolve(x, w, stride) + b,
                         tape.relu, lambda x: tape.max_pool(x, 3, 2, 0, 1))
        return (x.mean((1, 2)) @ filters.out + filters.out_bias).value

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        def conv(x: Any, w: Any, b: Any, stride: int) -> Any:
            return tf.nn.conv2d(x, w, strides=[1, stride, stride, 1], padding="SAME") + b

        def pool(x: Any) -> Any:
            return tf.nn.max_pool(x, ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="SAME")

        x = self.forward(p, d.x, conv, tf.nn.relu, pool)
        return tf.matmul(tf.reduce_mean(x, [1, 2]), p.out) + p.out_bias

    def jax(self, p: Values, d: Values) -> Any:
        import jax

        x = self.forward(p, d.x, lambda x, w, b, stride: _jax_convolve(x, w, stride) + b, jax.nn.relu,
                         lambda x: _jax_pool(x, 3, 2))
        return x.mean((1, 2)) @ p.out + p.out_bias

    def torch(self, p: Values, d: Values) -> Any:
        from torch.nn import functional as F

        def conv(x: Any, w: Any, b: Any, stride: int) -> Any:
            size, side = w.shape[2], x.shape[2]
            missing = max((-(-side // stride) - 1) * stride + size - side, 0)
            low, high = missing // 2, missing - missing // 2
            if low == high:
                return F.conv2d(x, w, b, stride, low)
            return F.conv2d(F.pad(x, (low, high, low, high)), w, b, stride)

        def pool(x: Any) -> Any:
            return F.max_pool2d(x, 3, 2, ceil_mode=True)

        x = self.forward(p, d.x, conv, F.relu, pool)
        return x.mean((2, 3)) @ p.out + p.out_bias

    def onnx(self, nodes: Any, p: Values, d: Values) -> Any:
        def conv(x: Any, w: Any, b: Any, stride: int) -> Any:
            return nodes("Conv", x, w, b, strides=[stride, stride], auto_pad="SAME_UPPER")

        def pool(x: Any) -> Any:
            return nodes("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")

        x = self.forward(p, d.x, conv, lambda x: nodes("Relu", x), pool, lambda a, b: nodes("Add", a, b))
        features = nodes("Flatten", nodes("GlobalAveragePool", x))
        return nodes("Gemm", features, p.out, p.out_bias)


def _jax_convolve(x: Any, filters: Any, stride: int) -> Any:
    import jax

    return jax.lax.conv_general_dilated(x, filters, (stride, stride), "SAME",
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _jax_pool(x: Any, size: int, stride: int) -> Any:
    import jax

    return jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, size, size, 1), (1, stride, stride, 1), "SAME")
