"""Networks with channels first: they compute what those with channels last do, and transpose as little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphflow as tf
from graphflow.compiler import oracle
from graphflow.compiler.ir.graph import Graph
from graphflow.compiler.ir.rewrite import everywhere, live_operations
from graphflow.compiler.passes.layout import layout
from graphflow.compiler.passes.prune import Signature, prune
from graphflow.compiler.pipeline import PIPELINE

LAST, FIRST = "NHWC", "NCHW"


class Net:
    """The same layers in either format; weights follow from their number."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.weights: list[tf.Tensor] = []

    def weight(self, *shape: int) -> tf.Tensor:
        rng = np.random.default_rng(len(self.weights))
        self.weights.append(tf.constant(rng.uniform(-0.5, 0.5, shape).astype(np.float32)))
        return self.weights[-1]

    def axes(self, *axes: int) -> list[int]:
        """Axes of [batch, height, width, channels] in this format."""
        return [(0, 2, 3, 1)[a] for a in axes] if self.form == FIRST else list(axes)

    def each(self, batch, height, width, channels) -> list:
        """One entry for each axis."""
        return [batch, channels, height, width] if self.form == FIRST else [batch, height, width, channels]

    def channels(self, x) -> int:
        return int(x.shape[self.axes(3)[0]])

    def per_channel(self, x):
        """Numbers for each channel, shaped to broadcast."""
        c = self.channels(x)
        return tf.reshape(self.weight(c), self.each(1, 1, 1, c)[self.form == FIRST:])

    def conv(self, x):
        w = self.weight(3, 2, self.channels(x), 4)
        return tf.nn.conv2d(x, w, 1, "SAME", data_format=self.form)

    def strided(self, x):
        w = self.weight(3, 3, self.channels(x), 5)
        return tf.nn.conv2d(x, w, self.each(1, 2, 1, 1), "SAME", data_format=self.form)

    def depthwise(self, x):
        w = self.weight(2, 2, self.channels(x), 1)
        return tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME", data_format=self.form)

    def bias(self, x):
        return tf.nn.bias_add(x, self.weight(self.channels(x)), data_format=self.form)

    def max_pool(self, x):
        return tf.nn.max_pool(x, 2, self.each(1, 1, 2, 1), "SAME", data_format=self.form)

    def avg_pool(self, x):
        return tf.nn.avg_pool(x, 3, 1, "SAME", data_format=self.form)

    def batch_norm(self, x):
        c = self.channels(x)
        return tf.nn.fused_batch_norm(x, self.weight(c), self.weight(c), data_format=self.form)[0]

    def scale(self, x):
        return x * self.per_channel(x)

    def activate(self, x):
        return tf.tanh(tf.where(x > 0, x, 0.5 * x))

    def residual(self, x):
        return x + tf.nn.relu(self.bias(x))

    def normalise(self, x):
        mean, variance = tf.nn.moments(x, self.axes(3), keepdims=True)
        return (x - mean) * tf.rsqrt(variance + 0.1)

    def squeeze(self, x):
        gate = tf.sigmoid(tf.reduce_mean(x, self.axes(1, 2)))
        return x * tf.reshape(gate, self.each(tf.shape(x)[0], 1, 1, self.channels(x)))

    def pad(self, x):
        return tf.pad(x, self.each([0, 0], [1, 0], [0, 1], [0, 0]))

    def mirror(self, x):
        return tf.pad(x, self.each([0, 0], [0, 1], [0, 0], [0, 0]), "SYMMETRIC")

    def join(self, x):
        return tf.concat([x, -x], self.axes(3)[0])

    def cut(self, x):
        return tf.slice(x, self.each(0, 0, 0, self.channels(x) // 2), self.each(-1, -1, -1, -1))

    def flip(self, x):
        return tf.reverse(x, self.axes(1, 3))

    def tile(self, x):
        return tf.tile(x, self.each(1, 1, 2, 1))


LAYERS = tuple(name for name in vars(Net) if not name.startswith("_") and name not in (
    "weight", "axes", "each", "channels", "per_channel"))


def build(form: str, layers: list[str], batch: int | None):
    """(x, [result, gradients to the input and the weights]) with channels `form`."""
    net = Net(form)
    x = tf.placeholder(tf.float32, net.each(batch, 4, 6, 3))
    h = x
    for name in layers:
        if h.shape.num_elements() is None or h.shape.num_elements() < 3000:
            h = getattr(net, name)(h)
    loss = tf.reduce_sum(tf.square(h))
    slopes = [g for g in tf.gradients(loss, [x, *net.weights]) if g is not None]
    return x, [h, *slopes]


def passed(fetches, feeds, passes):
    """The graph after these passes."""
    types = tuple(t.type for t in feeds)
    graph = prune(Signature(tuple(fetches), (), tuple(feeds), types)).graph
    for run_pass in passes:
        graph = everywhere(run_pass, graph)
    return graph


def moved(graph) -> int:
    """Elements that transposes move."""
    return sum(op.out.type.size for op in live_operations(graph) if op.opdef.name == "transpose")


def near(a, b):
    np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * max(1.0, float(np.abs(b).max(initial=0))))


@settings(max_examples=25, deadline=None)
@given(layers=st.lists(st.sampled_from(LAYERS), min_size=1, max_size=6), batch=st.sampled_from([2, None]))
def test_channels_first_is_channels_last_on_transposed_data(layers, batch):
    data = np.random.default_rng(0).uniform(-1, 1, (2, 4, 6, 3)).astype(np.float32)
    found = {}
    for form in (LAST, FIRST):
        with Graph().as_default(), tf.Session() as sess:
            x, fetches = build(form, layers, batch)
            fed = data if form == LAST else data.transpose(0, 3, 1, 2)
            values = sess.run(fetches, {x: fed})
            for value, expected in zip(values, oracle.run(fetches, {x: fed}), strict=True):
                near(value, expected)
            turn = (0, 1, 2, 3) if form == LAST else (0, 2, 3, 1)
            found[form] = [v.transpose(turn) if k < 2 else v for k, v in enumerate(values)]
    for last, first in zip(found[LAST], found[FIRST], strict=True):
        near(first, last)


@settings(max_examples=40, deadline=None)
@given(layers=st.lists(st.sampled_from(LAYERS), min_size=1, max_size=8))
def test_the_pass_keeps_values_and_never_adds_work(layers):
    with Graph().as_default():
        x, fetches = build(FIRST, layers, 2)
        before = passed(fetches, [x], PIPELINE[:PIPELINE.index(layout)])
        after = layout(before)
    data = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4, 6)).astype(np.float32)
    assert moved(after) <= moved(before)
    values = [oracle.run(g.outputs, dict(zip(g.inputs, [data], strict=True))) for g in (before, after)]
    for a, b in zip(*values, strict=True):
        near(a, b)


@pytest.mark.parametrize("layers", [
    ["conv", "bias", "activate", "max_pool", "conv", "batch_norm", "residual", "avg_pool", "squeeze"],
    ["max_pool", "activate", "scale"],
    ["conv", "normalise", "scale", "pad", "strided", "join", "cut", "flip", "depthwise", "activate"]])
def test_only_the_edges_of_a_network_are_transposed(layers):
    with Graph().as_default():
        x, (h, to_x, *slopes) = build(FIRST, layers, 2)
        edges = [t.shape.num_elements() for t in (x, h, to_x)]
        assert moved(passed([h, to_x, *slopes], [x], PIPELINE)) <= sum(edges)
        assert moved(passed([tf.reduce_sum(h), *slopes], [x], PIPELINE)) <= edges[0]
