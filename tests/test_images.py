"""Images, normalisation and blocks: what samples cannot say."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from test_convolutions import draw, graph, hold, near, run  # noqa: F401

import graphflow as tf
from graphflow.compiler.errors import ShapeError, UnsupportedError

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


# Normalisation

def test_fused_batch_norm_gives_the_moments_of_the_batch():
    x, scale, offset = draw(4, 3, 2, 5), draw(5), draw(5)
    y, mean, variance = run(tf.nn.fused_batch_norm(x, scale, offset))
    near(mean, x.mean((0, 1, 2)))
    near(variance, x.var((0, 1, 2), ddof=1))
    near(y, (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 0.001) * scale + offset)
    again, *_ = run(tf.nn.fused_batch_norm(np.moveaxis(x, -1, 1), scale, offset, data_format="NCHW"))
    near(np.moveaxis(again, 1, -1), y)


@pytest.mark.parametrize("form", ["NHWC", "NCHW"])
@pytest.mark.parametrize("first", [0.0, 1.0], ids=["far from the rest", "like the rest"])
def test_batch_norm_of_data_far_from_zero_is_exact(first, form):
    """The variance about a guess from the first images loses nothing, be they typical or not."""
    x = (1000 + draw(32, 6, 5, 70)).astype(np.float32)
    x[:2] *= first
    wide, axes = x.astype(np.float64), (0, 1, 2)
    g = draw(32, 6, 5, 70)
    normal = (wide - wide.mean(axes)) / np.sqrt(wide.var(axes) + 0.001)
    slope = (g - g.mean(axes) - normal * (g * normal).mean(axes)) / np.sqrt(wide.var(axes) + 0.001)
    turn = (0, 3, 1, 2) if form == "NCHW" else (0, 1, 2, 3)
    fed, = hold(x.transpose(turn))
    y, mean, variance = tf.nn.fused_batch_norm(fed, np.ones(70, np.float32), np.zeros(70, np.float32),
                                               data_format=form)
    values = run([y, mean, variance, tf.gradients(y, fed, g.transpose(turn))[0]], {fed: x.transpose(turn)})
    near(values[0].transpose(np.argsort(turn)), normal, 2e-4)
    np.testing.assert_allclose(values[1], wide.mean(axes), rtol=1e-6)
    np.testing.assert_allclose(values[2], wide.var(axes, ddof=1), rtol=2e-5)
    near(values[3].transpose(np.argsort(turn)), slope, 1e-3)


def test_fused_batch_norm_with_given_moments_is_batch_normalization():
    x, scale, offset, mean, variance = draw(4, 3, 2, 5), draw(5), draw(5), draw(5), draw(5) ** 2
    y, m, v = tf.nn.fused_batch_norm(x, scale, offset, mean, variance, 1e-2, is_training=False)
    plain = tf.nn.batch_normalization(x, mean, variance, offset, scale, 1e-2)
    found, expected, m, v = run([y, plain, m, v])
    near(found, expected)
    assert np.array_equal(m, mean) and np.array_equal(v, variance)


def test_fused_batch_norm_has_the_gradients_of_its_parts():
    x, scale, offset = draw(4, 3, 2, 5, dtype=np.float64), draw(5, dtype=np.float64), draw(5,
                                                                                           dtype=np.float64)
    xs, g = hold(x, scale, offset), draw(4, 3, 2, 5, dtype=np.float64)
    mean, variance = tf.reduce_mean(xs[0], [0, 1, 2]), None
    variance = tf.reduce_mean(tf.square(xs[0] - mean), [0, 1, 2])
    plain = tf.nn.batch_normalization(xs[0], mean, variance, xs[2], xs[1], 0.001)
    fused, *_ = tf.nn.fused_batch_norm(*xs)
    rows = run([tf.gradients(y, xs, g) for y in (fused, plain)], dict(zip(xs, (x, scale, offset),
                                                                          strict=True)))
    for a, b in zip(*rows, strict=True):
        near(a, b, 1e-9)


def test_half_precision_keeps_statistics_in_float32():
    y, mean, _ = tf.nn.fused_batch_norm(tf.constant(draw(64, 4).astype(np.float16)), np.ones(4, np.float32),
                                        np.zeros(4, np.float32))
    assert y.dtype == tf.float16 and mean.dtype == tf.float32
    assert abs(run(y).astype(np.float64).mean()) < 1e-3


def test_batch_norm_refuses():
    x, ones = draw(2, 3, 3, 4), np.ones(4, np.float32)
    with pytest.raises(ValueError, match="give neither"):
        tf.nn.fused_batch_norm(x, ones, ones, mean=ones)
    with pytest.raises(ValueError, match="must be given"):
        tf.nn.fused_batch_norm(x, ones, ones, is_training=False)
    with pytest.raises(ShapeError, match=r"(?s)C2.*\[4\].*\[3\]"):
        tf.nn.fused_batch_norm(x, ones[:3], ones)


def test_moments_in_other_words():
    x, w = draw(5, 4), np.abs(draw(5, 1))
    mean, variance = run(tf.nn.weighted_moments(x, [0], w))
    near(mean, np.average(x, 0, w[:, 0]))
    near(variance, np.average((x - mean) ** 2, 0, w[:, 0]))
    mean, variance = run(tf.nn.normalize_moments(*tf.nn.sufficient_statistics(x, [0], shift=0.5)))
    near(mean, x.mean(0))
    near(variance, x.var(0), 1e-4)


@needs_torch
def test_lrn_against_torch():
    import torch

    x = draw(2, 3, 4, 9)
    expected = torch.nn.functional.local_response_norm(torch.tensor(np.moveaxis(x, -1, 1).copy()), 5, 0.5,
                                                       0.75, 2.0)
    near(run(tf.nn.lrn(x, 2, 2.0, 0.1, 0.75)), np.moveaxis(expected.numpy(), 1, -1))


# Sizes

def test_resize_takes_the_pixel_before_or_between():
    x = np.array([[1, 3], [5, 7]], np.float32).reshape(1, 2, 2, 1)
    near(run(tf.image.resize_bilinear(x, [2, 4]))[0, :, :, 0], [[1, 2, 3, 3], [5, 6, 7, 7]])
    near(run(tf.image.resize_bilinear(x, [2, 3], align_corners=True))[0, :, :, 0], [[1, 2, 3], [5, 6, 7]])
    near(run(tf.image.resize_nearest_neighbor(x, [4, 3]))[0, :, :, 0], [[1, 1, 3], [1, 1, 3], [5, 5, 7],
                                                                        [5, 5, 7]])


@needs_torch
@pytest.mark.parametrize("size", [(5, 9), (3, 2), (8, 6)], ids=str)
def test_resize_against_torch(size):
    import torch

    x = draw(2, 6, 4, 3)
    t = torch.tensor(np.moveaxis(x, -1, 1).copy())
    for options, align in (({"half_pixel_centers": True}, False), ({"align_corners": True}, True)):
        expected = torch.nn.functional.interpolate(t, size, mode="bilinear", align_corners=align).numpy()
        near(run(tf.image.resize_bilinear(x, size, **options)), np.moveaxis(expected, 1, -1))
    expected = torch.nn.functional.interpolate(t, size, mode="nearest").numpy()
    near(run(tf.image.resize_nearest_neighbor(x, size)), np.moveaxis(expected, 1, -1))


def test_resize_images_as_tf1():
    x = tf.placeholder(tf.uint8, [None, 4, 6, 3])
    assert tf.image.resize_images(x, [8, 8]).dtype == tf.float32
    assert tf.image.resize_images(x, [4, 6]) is x
    nearest = tf.image.resize_images(x, (2, 3), tf.image.ResizeMethod.NEAREST_NEIGHBOR)
    assert nearest.dtype == tf.uint8 and nearest.shape.as_list() == [None, 2, 3, 3]
    a = np.arange(72, dtype=np.uint8).reshape(1, 4, 6, 3)
    assert np.array_equal(run(nearest, {x: a}), a[:, ::2, ::2])
    one = tf.image.resize_images(draw(4, 6, 3), [8, 8], preserve_aspect_ratio=True)
    assert one.shape.as_list() == [5, 8, 3]
    with pytest.raises(UnsupportedError, match="2"):
        tf.image.resize_images(x, [8, 8], tf.image.ResizeMethod.BICUBIC)


def test_a_size_may_be_that_of_another_image():
    x, y = (tf.placeholder(tf.float32, [None, None, None, 2]) for _ in range(2))
    z = tf.image.resize_bilinear(x, tf.shape(y)[1:3])
    a = draw(1, 3, 5, 2)
    near(run(z, {x: a, y: np.zeros((1, 7, 4, 2))}), run(tf.image.resize_bilinear(a, [7, 4])))
    g, = tf.gradients(z, x)
    t, = hold(a)
    near(run(g, {x: a, y: np.zeros((1, 7, 4, 2))}),
         run(tf.gradients(tf.image.resize_bilinear(t, [7, 4]), t)[0], {t: a}))


def test_crop_or_pad_keeps_the_middle():
    x = draw(2, 5, 4, 3)
    near(run(tf.image.resize_image_with_crop_or_pad(x, 2, 7)),
         np.pad(x[:, 1:3], ((0, 0), (0, 0), (1, 2), (0, 0))))
    t = tf.placeholder(tf.float32, [None, None, 3])
    y = tf.image.resize_image_with_crop_or_pad(t, 6, 2)
    assert y.shape.as_list() == [6, 2, 3]
    near(run(y, {t: x[0]}), np.pad(x[0][:, 1:3], ((0, 1), (0, 0), (0, 0))))


# Blocks and patches

def test_blocks_are_the_same_in_both_formats():
    x = draw(2, 4, 6, 3)
    y, z = run([tf.space_to_depth(x, 2), tf.space_to_depth(np.moveaxis(x, -1, 1), 2, data_format="NCHW")])
    near(np.moveaxis(z, 1, -1), y)
    near(run(tf.depth_to_space(y, 2)), x)
    with pytest.raises(ShapeError, match=r"C3.*height 4 is no multiple of 3"):
        tf.space_to_depth(x, 3)


def test_a_batch_of_positions_and_back():
    x = draw(2, 3, 5, 2)
    y = run(tf.space_to_batch_nd(x, [2, 3], [[1, 0], [0, 1]]))
    padded = np.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))
    near(y, np.concatenate([padded[:, i::2, j::3] for i in range(2) for j in range(3)]))
    near(run(tf.batch_to_space_nd(y, [2, 3], [[1, 0], [0, 1]])), x)
    t = tf.placeholder(tf.float32, [None, None, None, 2])
    near(run(tf.batch_to_space(tf.space_to_batch(t, [[0, 1], [0, 1]], 2), [[0, 1], [0, 1]], 2), {t: x}), x)


def test_dilation_is_a_convolution_of_each_position():
    x, w = draw(1, 8, 8, 2), draw(3, 3, 2, 3)
    parts = tf.nn.conv2d(tf.space_to_batch_nd(x, [2, 2], [[2, 2], [2, 2]]), w, 1, "VALID")
    near(*run([tf.batch_to_space_nd(parts, [2, 2], [[0, 0], [0, 0]]), tf.nn.atrous_conv2d(x, w, 2, "SAME")]))


def test_patches_are_what_a_convolution_sees():
    x, w = draw(2, 6, 7, 3), draw(3, 2, 3, 4)
    patches = tf.extract_image_patches(x, [1, 3, 2, 1], [1, 2, 1, 1], [1, 1, 2, 1], "SAME")
    assert patches.shape.as_list() == [2, 3, 7, 18]
    near(*run([tf.tensordot(patches, w.reshape(18, 4), 1),
               tf.nn.conv2d(x, w, [1, 2, 1, 1], "SAME", dilations=[1, 1, 2, 1])]))
