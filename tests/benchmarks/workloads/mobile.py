"""Depthwise-separable convolutions: NHWC images, [k, k, 1, channels] filters for each channel by itself."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from tests.benchmarks import tape
from tests.benchmarks.workload import Arrays, Values, Workload, normal, weights
from tests.benchmarks.workloads.images import NO_CONVOLUTION


@dataclasses.dataclass(frozen=True)
class MobileNet(Workload):
    """MobileNet-shaped inference, batch norms folded into the convolutions"""

    batch: int = 1
    side: int = 224
    stem: int = 32
    blocks: tuple[tuple[int, int], ...] = (  # channels out, stride
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *(((512, 1),) * 5), (1024, 2), (1024, 1))
    classes: int = 1000
    key: ClassVar[str] = "mobilenet"
    dense: ClassVar[bool] = True
    images: ClassVar[bool] = True
    small: ClassVar[dict[str, Any]] = {"batch": 2, "side": 32, "stem": 4, "blocks": ((6, 1), (8, 2)),
                                       "classes": 7}
    skips: ClassVar[dict[str, str]] = NO_CONVOLUTION

    @property
    def name(self) -> str:
        return f"mobilenet batch {self.batch}"

    @property
    def group(self) -> str:
        return self.name

    @property
    def title(self) -> str:
        return f"MobileNet-shaped inference, batch {self.batch}"

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        params: Arrays = {"stem": weights(rng, 3, 3, 3, self.stem), "stem_bias": normal(rng, self.stem)}
        before = self.stem
        for k, (after, _) in enumerate(self.blocks):
            params |= {f"d{k}": weights(rng, 3, 3, 1, before), f"d{k}_bias": normal(rng, before, scale=0.1),
                       f"p{k}": weights(rng, 1, 1, before, after),
                       f"p{k}_bias": normal(rng, after, scale=0.1)}
            before = after
        params |= {"out": weights(rng, before, self.classes), "out_bias": normal(rng, self.classes)}
        return params, {"x": normal(rng, self.batch, self.side, self.side, 3)}

    def flops(self) -> float:
        side, before = -(-self.side // 2), self.stem
        total = 2.0 * 27 * before * side * side
        for after, stride in self.blocks:
            side = -(-side // stride)
            total += 2.0 * (9 + after) * before * side * side
            before = after
        return self.batch * (total + 2 * before * self.classes)

    def forward(self, p: Values, x: Any, conv: Any, relu: Any) -> Any:
        """The features before the mean over the image; `conv` takes filters, a bias, the stride, groups."""
        x = relu(conv(x, p.stem, p.stem_bias, 2, 1))
        before = self.stem
        for k, (after, stride) in enumerate(self.blocks):
            x = relu(conv(x, p[f"d{k}"], p[f"d{k}_bias"], stride, before))
            x = relu(conv(x, p[f"p{k}"], p[f"p{k}_bias"], 1, 1))
            before = after
        return x

    def reference(self, p: Values, d: Values) -> Any:
        filters = Values({k: tape.node(v) for k, v in p.items()})

        def conv(x: Any, w: Any, b: Any, stride: int, groups: int) -> Any:
            return (tape.convolve if groups == 1 else tape.convolve_each)(x, w, stride) + b

        x = self.forward(filters, tape.node(d.x), conv, tape.relu)
        return (x.mean((1, 2)) @ filters.out + filters.out_bias).value

    def tf1(self, tf: Any, p: Values, d: Values) -> Any:
        def conv(x: Any, w: Any, b: Any, stride: int, groups: int) -> Any:
            strides = [1, stride, stride, 1]
            if groups == 1:
                return tf.nn.conv2d(x, w, strides=strides, padding="SAME") + b
            return tf.nn.depthwise_conv2d(x, tf.reshape(w, [3, 3, groups, 1]), strides, "SAME") + b

        x = self.forward(p, d.x, conv, tf.nn.relu)
        return tf.matmul(tf.reduce_mean(x, [1, 2]), p.out) + p.out_bias

    def jax(self, p: Values, d: Values) -> Any:
        import jax

        def conv(x: Any, w: Any, b: Any, stride: int, groups: int) -> Any:
            return b + jax.lax.conv_general_dilated(
                x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=groups)

        x = self.forward(p, d.x, conv, jax.nn.relu)
        return x.mean((1, 2)) @ p.out + p.out_bias

    def torch(self, p: Values, d: Values) -> Any:
        from torch.nn import functional as F

        def conv(x: Any, w: Any, b: Any, stride: int, groups: int) -> Any:
            missing = max((-(-x.shape[2] // stride) - 1) * stride + w.shape[2] - x.shape[2], 0)
            low, high = missing // 2, missing - missing // 2
            if low == high:
                return F.conv2d(x, w, b, stride, low, 1, groups)
            return F.conv2d(F.pad(x, (low, high, low, high)), w, b, stride, 0, 1, groups)

        x = self.forward(p, d.x, conv, F.relu)
        return x.mean((2, 3)) @ p.out + p.out_bias

    def onnx(self, nodes: Any, p: Values, d: Values) -> Any:
        def conv(x: Any, w: Any, b: Any, stride: int, groups: int) -> Any:
            return nodes("Conv", x, w, b, strides=[stride, stride], auto_pad="SAME_UPPER", group=groups)

        x = self.forward(p, d.x, conv, lambda x: nodes("Relu", x))
        features = nodes("Flatten", nodes("GlobalAveragePool", x))
        return nodes("Gemm", features, p.out, p.out_bias)
