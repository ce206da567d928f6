"""Convolution and pooling as TF1 defines them, and against PyTorch where it is installed."""

from __future__ import annotations

import importlib.util
import itertools

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.graph import Graph

RNG = np.random.default_rng(0)
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


@pytest.fixture(autouse=True)
def graph():
    with Graph().as_default() as g:
        yield g


def draw(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


def run(fetches, feeds=None):
    with tf.Session() as sess:
        return sess.run(fetches, feeds)


def hold(*arrays, unknown=False):
    return [tf.placeholder(a.dtype, [None] * a.ndim if unknown else a.shape) for a in arrays]


def near(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0,
                                                                          float(np.abs(b).max(initial=0))))


# One output pixel after another, by the formulas in TF1's documentation

def placed(extent, size, stride, padding, dilation=1):
    """The first position of each window."""
    reach = (size - 1) * dilation + 1
    if padding == "SAME":
        count = -(-extent // stride)
        total = max(reach - (extent % stride or stride), 0)
        before = total // 2
    else:
        before, after = (0, 0) if padding == "VALID" else padding
        count = -(-(extent + before + after - reach + 1) // stride)
    return [i * stride - before for i in range(count)]


def each_window(x, size, strides, paddings, dilations=(1, 1)):
    """(b, i, j), and {(u, v): pixel} for what a window holds."""
    rows, cols = (placed(x.shape[k + 1], size[k], strides[k], paddings[k], dilations[k]) for k in range(2))
    for b, (i, top), (j, left) in itertools.product(range(len(x)), enumerate(rows), enumerate(cols)):
        held = {}
        for u, v in np.ndindex(*size):
            h, w = top + u * dilations[0], left + v * dilations[1]
            if 0 <= h < x.shape[1] and 0 <= w < x.shape[2]:
                held[u, v] = x[b, h, w]
        yield (b, i, j), held


def by_window(x, size, strides, paddings, channels, value, dilations=(1, 1)):
    cells = dict(each_window(x, size, strides, paddings, dilations))
    shape = [max(k) + 1 for k in zip(*cells, strict=True)]
    result = np.zeros((*shape, channels))
    for at, held in cells.items():
        result[at] = value(held)
    return result


GEOMETRIES = [((3, 3), (1, 1), "SAME", (1, 1)), ((2, 3), (2, 1), "VALID", (1, 1)), ((3, 3), (2, 2),
                                                                                    "SAME", (1, 1)),
              ((5, 2), (3, 2), "SAME", (1, 1)), ((2, 2), (1, 1), "SAME", (2, 3)), ((3, 2), (1, 1),
                                                                                   "VALID", (2, 1)),
              ((1, 1), (2, 2), "VALID", (1, 1)), ((3, 3), (2, 1), [(0, 2), (1, 2)], (1, 1))]


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_conv2d_pixel_by_pixel(geometry):
    size, strides, padding, dilations = geometry
    x, w = draw(2, 7, 8, 3), draw(*size, 3, 4)
    y = tf.nn.conv2d(x, w, [1, *strides, 1], padding if isinstance(padding, str) else [[0, 0], *padding,
                                                                                       [0, 0]],
                     dilations=[1, *dilations, 1])
    pair = [padding] * 2 if isinstance(padding, str) else padding
    near(run(y), by_window(x, size, strides, pair, 4,
                           lambda held: sum(p @ w[u] for u, p in held.items()), dilations))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_pools_pixel_by_pixel(geometry):
    size, strides, padding, dilations = geometry
    x = draw(2, 7, 8, 3)
    pair = [padding] * 2 if isinstance(padding, str) else padding
    for kind, value in (("MAX", np.max), ("AVG", np.mean)):
        y = tf.nn.pool(x, size, kind, padding, dilations, strides)
        near(run(y), by_window(x, size, strides, pair, 3,
                               lambda held, value=value: value(list(held.values()), axis=0), dilations))


def test_depthwise_and_separable_pixel_by_pixel():
    x, w, p = draw(2, 5, 6, 3), draw(3, 3, 3, 2), draw(1, 1, 6, 4)

    def channels(held):
        return sum(w[u] * pixel[:, None] for u, pixel in held.items()).ravel()
    for strides, padding in (((1, 1), "SAME"), ((2, 2), "SAME"), ((2, 1), "VALID")):
        expected = by_window(x, (3, 3), strides, [padding] * 2, 6, channels)
        near(run(tf.nn.depthwise_conv2d(x, w, [1, *strides, 1], padding)), expected)
        near(run(tf.nn.separable_conv2d(x, w, p, [1, *strides, 1], padding)), expected @ p[0, 0], 1e-4)


def test_the_other_ranks_are_the_same_sum():
    x, w = draw(2, 9, 3), draw(3, 3, 4)
    near(run(tf.nn.conv1d(x, w, 2, "SAME")), run(tf.nn.conv2d(x[:, None], w[None], [1, 1, 2, 1],
                                                              "SAME"))[:, 0])
    v, k = draw(1, 4, 5, 6, 2), draw(1, 3, 3, 2, 3)
    near(run(tf.nn.conv3d(v, k, [1, 1, 2, 2, 1], "SAME"))[0], run(tf.nn.conv2d(v[0], k[0], [1, 2, 2, 1],
                                                                               "SAME")))
    near(run(tf.nn.max_pool3d(v, [1, 1, 2, 2, 1], [1, 1, 2, 2, 1], "VALID"))[0],
         run(tf.nn.max_pool(v[0], [1, 2, 2, 1], [1, 2, 2, 1], "VALID")))
    near(run(tf.nn.avg_pool1d(x, 3, 2, "SAME")), run(tf.nn.avg_pool(x[:, None], [1, 1, 3, 1], [1, 1, 2,
                                                                                               1],
                                                                    "SAME"))[:, 0])


def test_channels_first_is_a_transposition():
    x, w = draw(2, 6, 7, 3), draw(3, 3, 3, 4)
    first = np.moveaxis(x, -1, 1)
    for last, other in (
            (tf.nn.conv2d(x, w, [1, 2, 1, 1], "SAME"),
             tf.nn.conv2d(first, w, [1, 1, 2, 1], "SAME", data_format="NCHW", name="c")),
            (tf.nn.max_pool(x, [1, 2, 3, 1], [1, 2, 1, 1], "VALID"),
             tf.nn.max_pool(first, [1, 1, 2, 3], [1, 1, 2, 1], "VALID", "NCHW")),
            (tf.nn.avg_pool(x, 2, 2, "SAME"), tf.nn.avg_pool(first, 2, 2, "SAME", "NCHW")),
            (tf.nn.depthwise_conv2d(x, draw_filters := draw(2, 2, 3, 2), [1, 1, 1, 1], "SAME"),
             tf.nn.depthwise_conv2d(first, draw_filters, [1, 1, 1, 1], "SAME", data_format="NCHW"))):
        a, b = run([last, other])
        near(np.moveaxis(a, -1, 1), b)
    assert tf.get_default_graph().get_tensor_by_name("c:0").shape.as_list() == [2, 4, 3, 7]


# Gradients

def test_backprops_are_the_gradients():
    x, w = draw(2, 6, 7, 3), draw(3, 2, 3, 4)
    for data_format in ("NHWC", "NCHW"):
        first = data_format == "NCHW"
        a = np.moveaxis(x, -1, 1) if first else x
        strides = [1, 1, 2, 1] if first else [1, 2, 1, 1]
        xs = hold(a, w)
        y = tf.nn.conv2d(*xs, strides, "SAME", data_format=data_format)
        g = draw(*y.shape.as_list())
        gx, gw = tf.gradients(y, xs, g)
        again = (tf.nn.conv2d_backprop_input(a.shape, w, g, strides, "SAME", data_format=data_format),
                 tf.nn.conv2d_backprop_filter(a, w.shape, g, strides, "SAME", data_format=data_format))
        for found, expected in zip(*run([again, (gx, gw)], dict(zip(xs, (a, w), strict=True))), strict=True):
            near(found, expected)


def test_depthwise_backprops_are_the_gradients():
    x, w = draw(2, 5, 5, 3), draw(3, 3, 3, 2)
    xs = hold(x, w)
    y = tf.nn.depthwise_conv2d(*xs, [1, 2, 2, 1], "SAME")
    g = draw(*y.shape.as_list())
    again = (tf.nn.depthwise_conv2d_native_backprop_input(x.shape, w, g, [1, 2, 2, 1], "SAME"),
             tf.nn.depthwise_conv2d_native_backprop_filter(x, w.shape, g, [1, 2, 2, 1], "SAME"))
    for found, expected in zip(*run([again, tf.gradients(y, xs, g)], dict(zip(xs, (x, w), strict=True))),
                               strict=True):
        near(found, expected)


def test_max_pool_gradient_goes_to_the_first_maximum():
    x = np.array([[1, 5, 5, 0], [5, 5, 0, 0], [2, 2, 3, 3], [2, 2, 3, 3]], np.float32).reshape(1, 4, 4, 1)
    t, = hold(x)
    g, = tf.gradients(tf.nn.max_pool(t, 2, 2, "VALID"), t)
    assert run(g, {t: x}).reshape(4, 4).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_argmax_of_windows_counts_from_the_start_of_the_image():
    x = draw(2, 4, 6, 3)
    top, where = run(tf.nn.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"))
    assert where.dtype == np.int64
    assert np.array_equal(np.take_along_axis(x.reshape(2, -1), where.reshape(2, -1), 1).ravel(), top.ravel())
    _, whole = run(tf.nn.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME",
                                              include_batch_in_index=True))
    assert np.array_equal(x.ravel()[whole], top)


# Shapes

def test_a_new_batch_size_compiles_nothing():
    x = tf.placeholder(tf.float32, [None, 8, 8, 3])
    w = draw(3, 3, 3, 4)
    y = tf.nn.max_pool(tf.nn.relu(tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")), 2, 2, "SAME")
    assert y.shape.as_list() == [None, 4, 4, 4]
    a = draw(17, 8, 8, 3)
    with tf.Session() as sess:
        step = sess.engine.prepare([y, *tf.gradients(y, x)], [], [x])
        whole = step(a)
        for n in (1, 5, 2):
            for found, expected in zip(step(a[:n]), whole, strict=True):
                near(found, expected[:n])
        assert len(step.programs) == 1


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_unknown_spatial_dims(padding):
    x = tf.placeholder(tf.float32, [None, None, None, 3])
    w = draw(3, 3, 3, 4)
    y = tf.nn.avg_pool(tf.nn.conv2d(x, w, [1, 2, 2, 1], padding), 3, 1, "SAME")
    assert y.shape.as_list() == [None, None, None, 4]
    fetches = [y, *tf.gradients(y, x)]
    for shape in ((1, 7, 9, 3), (2, 12, 8, 3)):
        a = draw(*shape)
        t, = hold(a)
        known = tf.nn.avg_pool(tf.nn.conv2d(t, w, [1, 2, 2, 1], padding), 3, 1, "SAME")
        for found, expected in zip(*run([fetches, [known, *tf.gradients(known, t)]], {x: a, t: a}),
                                   strict=True):
            near(found, expected)


def test_transposed_convolution_of_an_unknown_batch():
    z = tf.placeholder(tf.float32, [None, 4, 4, 5])
    w = draw(3, 3, 2, 5)
    y = tf.nn.conv2d_transpose(z, w, tf.stack([tf.shape(z)[0], 8, 8, 2]), [1, 2, 2, 1])
    assert y.shape.as_list() == [None, 8, 8, 2]
    a, b = draw(3, 4, 4, 5), draw(3, 8, 8, 2)
    forward = run(tf.nn.conv2d(b, w, [1, 2, 2, 1], "SAME"))
    near(np.sum(run(y, {z: a}) * b), np.sum(a * forward), 1e-4)  # <A^T a, b> == <a, A b>


@pytest.mark.parametrize("call, text", [
    (lambda: tf.nn.conv2d(draw(1, 5, 5, 3), draw(3, 3, 2, 4), [1, 1, 1, 1], "SAME"),
     r"C2.*3 input channels.*take 2"),
    (lambda: tf.nn.conv2d(draw(1, 3, 5, 5), draw(3, 3, 3, 4), [1, 1, 1, 1], "SAME"), "NCHW"),
    (lambda: tf.nn.conv2d(draw(1, 2, 2, 3), draw(3, 3, 3, 4), [1, 1, 1, 1], "VALID"),
     r"C5.*reaches over 3.*has 2"),
    (lambda: tf.nn.conv2d(draw(5, 5, 3), draw(3, 3, 3, 4), [1, 1, 1, 1], "VALID"), "C1.*rank 4"),
    (lambda: tf.nn.conv2d(draw(1, 5, 5, 3), draw(3, 3, 3, 4), [1, 0, 0, 1], "SAME"), "C3.*strides"),
    (lambda: tf.nn.conv2d(draw(1, 5, 5, 3), draw(3, 3, 3, 4), [2, 1, 1, 1], "SAME"),
     "batch and the channels"),
    (lambda: tf.nn.conv2d(draw(1, 5, 5, 3), draw(3, 3, 3, 4), [1, 1, 1], "SAME"),
     "must hold 1, 2 or 4 numbers"),
    (lambda: tf.nn.conv2d(draw(1, 5, 5, 3), draw(3, 3, 3, 4), 1, "FULL"), "C4.*'SAME', 'VALID' or"),
    (lambda: tf.nn.conv2d(draw(1, 5, 5, 3), draw(3, 3, 3, 4), 1), "C4.*padding.*not None"),
    (lambda: tf.nn.conv2d(draw(1, 5, 5, 3), draw(3, 3, 3, 4), 1, "SAME", data_format="HWCN"), "NHWC or NCHW"),
    (lambda: tf.nn.max_pool(draw(1, 5, 5, 3), [1, 2, 2, 2], 1, "SAME"), "1 for the batch and the channels"),
    (lambda: tf.nn.conv2d_transpose(draw(1, 4, 4, 3), draw(3, 3, 2, 3), [1, 9, 9, 2], 2),
     r"conv2d_transpose \(C7\)"),
    (lambda: tf.nn.depthwise_conv2d_native_backprop_input(
        [1, 9, 9, 3], draw(3, 3, 3, 2), draw(1, 4, 4, 6), 2, "SAME"), r"depthwise_conv2d_backprop_input \("),
    (lambda: tf.nn.depthwise_conv2d_native_backprop_filter(
        draw(1, 9, 9, 3), [3, 3, 3, 2], draw(1, 4, 4, 6), 2, "SAME"), r"depthwise_conv2d_backprop_filter \("),
    (lambda: tf.nn.conv2d_transpose(draw(1, 4, 4, 3), draw(3, 3, 2, 3), [-1, 8, 8, 2], 2),
     r"conv2d_transpose: output_shape \[-1, 8, 8, 2\]"),
    (lambda: tf.nn.conv2d_transpose(draw(1, 4, 4, 3), draw(3, 3, 2, 3), [1, 8, 8, 5], 2),
     "asks for 5 channels, but the filters give 2"),
    (lambda: tf.nn.conv2d_backprop_filter(draw(1, 4, 4, 3), [3, 3, 3, 7], draw(1, 4, 4, 2), 1, "SAME"),
     "axis -1"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_what_does_not_fit_is_refused(call, text):
    with pytest.raises(ShapeError, match=f"(?s){text}"):
        call()


def test_errors_name_the_line():
    x, w = hold(draw(1, 5, 5, 3), draw(3, 3, 2, 4))
    with pytest.raises(ShapeError, match=r"(?s)conv2d \(C2\).*test_convolutions.py.*hint"):
        tf.nn.conv2d(x, w, 1, "SAME")


def test_renamed_keywords_and_names():
    x, w = draw(1, 4, 4, 2), draw(3, 3, 2, 3)
    a = tf.nn.conv2d(input=x, filters=w, strides=1, padding="SAME")
    b = tf.nn.conv2d(x, filter=w, strides=[1, 1], padding="SAME", name="layer")
    assert a.name == "Conv2D:0" and b.name == "layer:0" and a.op.type == "Conv2D"
    assert np.array_equal(*run([a, b]))
    assert tf.nn.max_pool(input=x, ksize=2, strides=2, padding="SAME").name == "MaxPool:0"
    with pytest.raises(ValueError, match="mean the same"):
        tf.nn.conv2d(x, w, 1, "SAME", filters=w)


# PyTorch

TORCH = [((2, 9, 10, 3), (3, 3), 4, 1, (0, 0), 1, 1), ((2, 9, 10, 4), (3, 2), 6, 2, (1, 1), 1, 2),
         ((1, 12, 12, 5), (5, 5), 3, 3, (2, 1), 1, 1), ((2, 11, 9, 3), (3, 3), 2, 1, (2, 2), 2, 1),
         ((1, 8, 8, 6), (3, 3), 6, 1, (1, 1), 1, 6), ((2, 9, 7, 4), (3, 3), 8, 2, (1, 1), 1, 4)]


@needs_torch
@pytest.mark.parametrize("case", TORCH, ids=str)
def test_convolutions_against_torch(case):
    import torch

    from graphflow.compiler.ops.convolution import convolution

    shape, size, out, stride, pad, dilation, groups = case
    x, w = draw(*shape, dtype=np.float64), draw(*size, shape[-1] // groups, out, dtype=np.float64)
    xs = hold(x, w)
    y = convolution(*xs, strides=(stride,) * 2, padding=tuple((p, p) for p in pad), dilations=(dilation,) * 2,
                    groups=groups)
    g = draw(*y.shape.as_list(), dtype=np.float64)
    found = run([y, *tf.gradients(y, xs, g)], dict(zip(xs, (x, w), strict=True)))
    tx = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    tw = torch.tensor(np.transpose(w, (3, 2, 0, 1)).copy(), requires_grad=True)
    ty = torch.nn.functional.conv2d(tx, tw, None, stride, pad, dilation, groups)
    ty.backward(torch.tensor(np.moveaxis(g, -1, 1).copy()))
    expected = (np.moveaxis(ty.detach().numpy(), 1, -1), np.moveaxis(tx.grad.numpy(), 1, -1),
                np.transpose(tw.grad.numpy(), (2, 3, 1, 0)))
    for a, b in zip(found, expected, strict=True):
        near(a, b, 1e-10)


@needs_torch
@pytest.mark.parametrize("size, stride, pad", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)])
def test_pools_against_torch(size, stride, pad):
    import torch

    x = RNG.integers(0, 4, (2, 9, 8, 3)).astype(np.float64)  # with ties
    t, = hold(x)
    edges = [[0, 0], [pad, pad], [pad, pad], [0, 0]]
    torch_pools = (torch.nn.MaxPool2d(size, stride, pad),
                   torch.nn.AvgPool2d(size, stride, pad, count_include_pad=False))
    for ours, theirs in zip((tf.nn.max_pool, tf.nn.avg_pool), torch_pools, strict=True):
        y = ours(t, size, stride, edges)
        g = draw(*y.shape.as_list(), dtype=np.float64)
        found = run([y, *tf.gradients(y, t, g)], {t: x})
        tx = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
        ty = theirs(tx)
        ty.backward(torch.tensor(np.moveaxis(g, -1, 1).copy()))
        near(found[0], np.moveaxis(ty.detach().numpy(), 1, -1), 1e-12)
        near(found[1], np.moveaxis(tx.grad.numpy(), 1, -1), 1e-12)


@pytest.mark.parametrize("extent", [6, None])
@pytest.mark.parametrize("size", [3, 7])
def test_a_stride_past_the_image_costs_no_memory(extent, size):
    x = tf.placeholder(tf.float32, [2, extent, extent, 8])
    filters = tf.constant(draw(size, size, 8, 8), tf.float32)
    padding = [(0, 0), (1, size), (1, size), (0, 0)]  # so that both give one window
    grads = [tf.gradients(tf.nn.conv2d(x, filters, s, padding), x)[0] for s in (30_000_000, size + 5)]
    wanted, found = tf.Session().run(grads, {x: np.zeros((2, 6, 6, 8))})
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert found.any()


# Any geometry

def _geometry(rng):
    """Dims of x and filters, and attributes that fit: up to three axes, any groups, at times no images."""
    rank, groups, narrow, n = rng.integers(1, 4), int(rng.choice([1, 2, 3, 16])), *rng.integers(1, 5, 2)
    each = 1 if rng.random() < 0.5 else int(rng.integers(2, 12))
    narrow = 1 if groups == 16 else narrow
    size, strides, dilations = (tuple(map(int, rng.integers(1, 4, rank))) for _ in range(3))
    strides = tuple(1 if rng.random() < 0.5 else s for s in strides)
    dilations = tuple(1 if rng.random() < 0.7 else d for d in dilations)
    pads = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (rank, 2)))
    padding = ["SAME", "VALID", pads][rng.integers(3)]
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]
    extents = [int(r + rng.integers(0, 12 if rank < 3 else 4)) for r in reach]
    dims = [0 if rng.random() < 0.04 else int(n), *extents, int(groups * narrow)]
    attrs = {"strides": strides, "dilations": dilations, "padding": padding, "groups": groups}
    return dims, (*size, int(narrow), groups * each), attrs


@pytest.mark.parametrize("seed", range(8))
def test_any_geometry_gives_what_the_records_say(seed):
    from graphflow.compiler.ops.convolution import (
        convolution,
        convolution_filter_grad,
        convolution_input_grad,
    )

    rng, fetches, feeds, expected = np.random.default_rng(seed), [], {}, []
    for _ in range(6):
        dims, filters, attrs = _geometry(rng)
        x, w = draw(*dims), draw(*filters)
        y = convolution(x, w, **attrs)
        g = draw(*y.shape.as_list())
        xs = hold(x, w, g)
        feeds |= dict(zip(xs, (x, w, g), strict=True))
        spatial, size = {"shape": tuple(dims[1:-1]), **attrs}, {"shape": filters[:-2], **attrs}
        fetches += [convolution(xs[0], xs[1], **attrs), convolution_input_grad(xs[2], xs[1], **spatial),
                    convolution_filter_grad(xs[0], xs[2], **size)]
        expected += [convolution.numpy(x, w, **attrs),
                     convolution_input_grad.numpy(g, w, called="", **spatial),
                     convolution_filter_grad.numpy(x, g, called="", **size)]
    for found, wanted in zip(run(fetches, feeds), expected, strict=True):
        near(found, wanted)
