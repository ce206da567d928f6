"""Winograd's way to convolve: what it gives, as closely as direct sums, and where it is taken."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler import pipeline
from graphflow.compiler.ops.convolution import convolution


def _run(arrays, padding, batch="known", threads=0, dilations=(1, 1)):
    """A convolution with what follows it, and its gradients; and how they are computed."""
    images, filters, rest = arrays
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, (None if batch == "open" else len(images), *images.shape[1:]))
        w = tf.constant(filters)
        y = convolution(x, w, strides=(1, 1), padding=padding, dilations=dilations)
        z = tf.nn.relu(y + rest) * tf.reverse(y, [1])
        fetches = [z, *tf.gradients(tf.nn.relu(y + rest), [x, w])]
        session = tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=threads))
        return session.run(fetches, {x: images}), str(tf.explain(fetches, {x: images}, session=session))


def _arrays(n, side, channels, out, size, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (n, *side, channels), (*size, channels, out), (1, 1, out)
    return [rng.normal(size=s).astype(np.float32) for s in shapes]


CASES = [  # n, side, channels, out, size, padding
    (1, (16, 14), 32, 32, (3, 3), "SAME"), (3, (9, 11), 40, 34, (3, 3), "SAME"),
    (2, (17, 12), 34, 48, (3, 3), "VALID"), (5, (8, 9), 64, 32, (3, 3), ((2, 1), (0, 2))),
    (7, (60, 58), 32, 32, (3, 3), "SAME"),  # in more than one band
    (3, (21, 20), 16, 80, (5, 5), "SAME"), (2, (22, 15), 24, 16, (7, 7), "VALID"),
    (2, (13, 12), 32, 128, (2, 2), "SAME"), (4, (14, 13), 18, 16, (3, 5), "SAME"),
    (2, (20, 19), 16, 19, (4, 6), "SAME"), (2, (12, 16), 96, 144, (3, 3), "SAME")]


@pytest.mark.parametrize("batch", ["known", "open"])
@pytest.mark.parametrize("n, side, channels, out, size, padding", CASES)
def test_winograd_as_direct(monkeypatch, n, side, channels, out, size, padding, batch):
    arrays, found = _arrays(n, side, channels, out, size), {}
    for switch in "01":
        monkeypatch.setenv("GRAPHFLOW_WINOGRAD", switch)
        found[switch], text = _run(arrays, padding, batch)
        assert ("winograd_convolution" in text) == (switch == "1")
    for direct, quick in zip(found["0"], found["1"], strict=True):
        assert np.abs(direct - quick).max() < 1e-5 * np.abs(direct).max()


@pytest.mark.parametrize("batch", ["known", "open"])
@pytest.mark.parametrize("n, side, size, padding, dilations", [
    (1, (33, 33), (3, 3), "SAME", (2, 2)), (1, (33, 33), (3, 3), "SAME", (4, 4)),
    (2, (29, 41), (3, 3), "VALID", (2, 3)), (3, (40, 34), (5, 3), ((3, 5), (7, 1)), (2, 1)),
    (5, (25, 31), (3, 3), ((0, 2), (2, 0)), (1, 3)), (1, (64, 65), (2, 4), "SAME", (5, 2))])
def test_dilated_as_direct(monkeypatch, n, side, size, padding, dilations, batch):
    arrays, found = _arrays(n, side, 32, 48, size), {}
    for switch in "01":
        monkeypatch.setenv("GRAPHFLOW_WINOGRAD", switch)
        found[switch], text = _run(arrays, padding, batch, 1, dilations)
        assert ("winograd_convolution" in text) == (switch == "1")
    for direct, quick in zip(found["0"], found["1"], strict=True):
        assert np.abs(direct - quick).max() < 1e-5 * np.abs(direct).max()


def test_phases_that_would_be_mostly_filled_up_are_direct():
    text = _run(_arrays(1, (33, 33), 32, 32, (3, 3)), "SAME", dilations=(12, 12))[1]
    assert "valid_convolution" in text and "winograd_convolution" not in text


@pytest.mark.parametrize("case", [(6, (30, 29), 64, 96, (3, 3)), (9, (15, 15), 32, 64, (5, 5)),
                                  (4, (9, 9), 256, 128, (3, 3))])
def test_any_number_of_threads_gives_the_same_bits(case):
    arrays = _arrays(*case)
    first, *others = [_run(arrays, "SAME", threads=threads)[0] for threads in (1, 2, 3)]
    assert all(np.array_equal(a, b) for other in others for a, b in zip(first, other, strict=True))


def test_an_open_batch_may_be_empty():
    with tf.Graph().as_default():
        x, w = tf.placeholder(tf.float32, [None, 16, 16, 16]), tf.ones((3, 3, 16, 16))
        y = tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")
        values, gradient = tf.Session().run([y, *tf.gradients(y, w)], {x: np.ones((0, 16, 16, 16))})
    assert values.shape == (0, 16, 16, 16) and not gradient.any()


def test_a_row_of_patches_may_be_long(monkeypatch):
    images, filters, _ = _arrays(1, (4, 8300), 16, 16, (3, 3))
    found = []
    for switch in "01":
        monkeypatch.setenv("GRAPHFLOW_WINOGRAD", switch)
        with tf.Graph().as_default():
            x, w = tf.constant(images), tf.constant(filters)
            y = tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")
            found += tf.Session().run(tf.gradients(tf.square(y), [w]))
    assert np.abs(found[1] - found[0]).max() < 1e-5 * np.abs(found[0]).max()


def test_only_large_32_bit_convolutions_are_winograd():
    with tf.Graph().as_default():
        for shape, dtype in (((1, 6, 6, 64), tf.float32), ((1, 32, 32, 12), tf.float32),
                             ((1, 32, 32, 64), tf.float64)):
            x, w = tf.placeholder(dtype, shape), tf.zeros((3, 3, shape[-1], 64), dtype)
            y = tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")
            text = str(tf.explain(y, {x: np.zeros(shape, dtype.numpy)}, session=tf.Session()))
            assert "winograd_" not in text


def test_filters_that_a_run_does_not_write_are_transformed_once():
    with tf.Graph().as_default():
        x, w = tf.placeholder(tf.float32, [2, 16, 16, 32]), tf.get_variable("w", [5, 5, 32, 32])
        y = tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")
        session = tf.Session()
        session.run(w.initializer)
        text = str(tf.explain(y, {x: np.ones(x.shape, np.float32)}, session=session))
    program, held = text.split("held between runs")
    assert "winograd_convolution" in program and "WinogradFilters" in held


def test_convolutions_of_one_shape_share_the_loop_over_their_patches(monkeypatch):
    images, filters, rest = _arrays(1, (14, 14), 64, 64, (3, 3))
    compiled, plain = [], pipeline.compile_signature
    monkeypatch.setattr(pipeline, "compile_signature", lambda *a: compiled.append(plain(*a)) or compiled[-1])
    found = []
    for switch in "01":
        monkeypatch.setenv("GRAPHFLOW_WINOGRAD", switch)
        with tf.Graph().as_default():
            x = tf.placeholder(tf.float32, images.shape)
            y = tf.nn.conv2d(x, filters, [1, 1, 1, 1], "SAME")
            z = tf.nn.conv2d(tf.nn.relu(y + rest), filters, [1, 1, 1, 1], "SAME")
            found.append(tf.Session().run(z + x, {x: images}))
    assert np.abs(found[1] - found[0]).max() < 1e-5 * np.abs(found[0]).max()
    ir = compiled[-1].ir
    assert ir.count("define internal void @gf.loop") == 1 and ir.count("call void @gf.loop0(") == 2


@pytest.mark.parametrize("size", [2, 3, 5, 7])
def test_accuracy_is_that_of_sums_of_products(size):
    """Errors in the mean by results in the mean; of direct sums they are about 5 units of 2**-24."""
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=s).astype(np.float32) for s in
              ((4, 14, 14, 64), (size, size, 64, 64), (4, 14, 14, 64))]
    results = []
    for dtype in (tf.float32, tf.float64):
        with tf.Graph().as_default():
            x, w, g = (tf.constant(a.astype(dtype.numpy)) for a in arrays)
            y = tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")
            results.append(tf.Session().run([y, *tf.gradients(y, [x, w], g)]))
    for found, exact in zip(*results, strict=True):
        error = np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact ** 2))
        assert error < 12 * 2.0**-24
