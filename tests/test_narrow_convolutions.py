"""Convolutions of halves and bytes, and of few outputs, against sums of float64 or int64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler.ir.dtypes import DType, bfloat16, float16, float32, float64, int8, uint8
from graphflow.compiler.ops.convolution import convolution, convolution_filter_grad, convolution_input_grad
from graphflow.compiler.ops.convolution_numpy import convolution_numpy, filter_grad_numpy, input_grad_numpy

DTYPES = (bfloat16, bfloat16, float16, int8, uint8, float32, float64)
ERRORS = {bfloat16: 2.0 ** -8, float16: 2.0 ** -11, float32: 1e-6, float64: 1e-14}


class Drawn:
    """A random geometry and random operands: x, the filters, and a gradient of the result."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype: DType = self.pick(DTYPES)
        rank = self.pick((1, 2, 2, 3))
        self.size = self.each((1, 2, 3, 5), rank)
        strides = self.each((1, 1, 2, 3), rank)
        dilations = tuple(1 if s > 1 else self.pick((1, 1, 2)) for s in strides)
        reach = [(s - 1) * d + 1 for s, d in zip(self.size, dilations, strict=True)]
        self.spatial = tuple(r + self.pick((0, 1, 4, 9)) for r in reach)
        groups, channels = self.pick((1, 1, 1, 2)), self.pick((1, 2, 3, 4, 6, 16, 34))
        self.attrs = {"strides": strides, "dilations": dilations, "padding": self.pick(("SAME", "VALID")),
                      "groups": groups}
        self.x = self.draw(self.pick((1, 2, 5)), *self.spatial, channels * groups)
        self.filters = self.draw(*self.size, channels, self.pick((1, 2, 3, 5, 7, 8, 9, 16, 48)) * groups)
        self.batch = None if self.rng.random() < 0.3 else len(self.x)

    def pick(self, sequence: Any) -> Any:
        return sequence[self.rng.integers(len(sequence))]

    def each(self, sequence: Any, rank: int) -> tuple[int, ...]:
        return tuple(self.pick(sequence) for _ in range(rank))

    def draw(self, *shape: int) -> Any:
        if self.dtype.is_floating:
            return self.rng.normal(size=shape).astype(self.dtype.numpy)
        return self.rng.integers(self.dtype.min, int(self.dtype.max) + 1, shape).astype(self.dtype.numpy)

    def expected(self) -> tuple[Any, Any, list[Any]]:
        """A gradient; what the three should give, and the sums of the magnitudes of what they add."""
        wide = np.float64 if self.dtype.is_floating else np.int64
        x, w = self.x.astype(wide), self.filters.astype(wide)
        g = self.draw(*convolution_numpy(x, w, **self.attrs).shape)

        def all_three(x: Any, w: Any, g: Any) -> list[Any]:
            return [convolution_numpy(x, w, **self.attrs),
                    input_grad_numpy(g, w, self.spatial, called="", **self.attrs),
                    filter_grad_numpy(x, g, self.size, called="", **self.attrs)]

        values = all_three(x, w, g.astype(wide))
        return g, values, all_three(abs(x), abs(w), abs(g.astype(wide)))

    def compiled(self, g: Any, threads: int) -> list[Any]:
        """The three by a session of so many threads."""
        config = tf.ConfigProto(intra_op_parallelism_threads=threads)
        with tf.Graph().as_default(), tf.Session(config=config) as session:
            x, gg = (tf.placeholder(self.dtype, (self.batch, *a.shape[1:])) for a in (self.x, g))
            w = tf.placeholder(self.dtype, self.filters.shape)
            found = [convolution(x, w, **self.attrs),
                     convolution_input_grad(gg, w, shape=self.spatial, **self.attrs),
                     convolution_filter_grad(x, gg, shape=self.size, **self.attrs)]
            results: list[Any] = session.run(found, {x: self.x, w: self.filters, gg: g})
            return results


@pytest.mark.parametrize("seed", range(60))
def test_as_exact_as_its_dtype(seed: int) -> None:
    d = Drawn(seed)
    g, expected, magnitudes = d.expected()
    found = d.compiled(g, 1)
    for value, wanted, magnitude in zip(found, expected, magnitudes, strict=True):
        assert value.dtype == d.dtype.numpy and value.shape == wanted.shape
        if d.dtype.is_floating:
            sums = 1e-14 if d.dtype is float64 else 4e-6  # of Winograd's patches too
            bound = ERRORS[d.dtype] * np.abs(wanted) + sums * magnitude.max(initial=1)
            assert np.all(np.abs(value.astype(np.float64) - wanted) <= bound)
        else:
            assert np.array_equal(value, wanted.astype(d.dtype.numpy))
    for threads in (2, 3):
        others = d.compiled(g, threads)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found, others, strict=True))


def run(fetches: Any, feeds: Any) -> tuple[Any, str]:
    with tf.Session() as session:
        return session.run(fetches, feeds), str(tf.explain(fetches, feeds, session=session))


def test_halves_are_not_widened_in_memory() -> None:
    """A layer pads and multiplies bfloat16 as it is, and what follows is computed on unrounded sums."""
    rng = np.random.default_rng(0)
    images, filters = (rng.normal(size=s).astype(bfloat16.numpy) for s in ((2, 9, 9, 16), (3, 3, 16, 32)))
    with tf.Graph().as_default():
        x, w = tf.placeholder(tf.bfloat16, images.shape), tf.placeholder(tf.bfloat16, filters.shape)
        y, text = run(tf.nn.relu(tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME")), {x: images, w: filters})
    assert text.count("pad") == 1 and "pad, cast" not in text and "winograd" not in text
    wide = convolution_numpy(images.astype("f8"), filters.astype("f8"), groups=1, strides=(1, 1),
                             dilations=(1, 1), padding="SAME")
    np.testing.assert_allclose(y.astype("f8"), np.maximum(wide, 0), rtol=2.0 ** -7, atol=1e-4)


@pytest.mark.parametrize("dtype", [bfloat16, float16], ids=lambda d: d.code)
def test_rows_of_halves_are_gathered_without_widening_the_table(dtype: DType) -> None:
    table = np.arange(300).reshape(100, 3).astype(dtype.numpy)
    with tf.Graph().as_default():
        t, i = tf.placeholder(dtype, table.shape), tf.placeholder(tf.int32, [2])
        fetches = [tf.gather(t, i), tf.pad(t[:2], [[1, 0], [0, 1]], constant_values=1.5)]
        (rows, padded), text = run(fetches, {t: table, i: [7, 99]})
    assert np.array_equal(rows, table[[7, 99]]) and "cast" not in text
    assert np.array_equal(padded, np.pad(table[:2], [[1, 0], [0, 1]], constant_values=1.5))


@pytest.mark.parametrize("out", [1, 3, 6])
def test_few_outputs_with_what_follows_on_them(out: int) -> None:
    rng = np.random.default_rng(out)
    images = rng.normal(size=(3, 21, 13, 40)).astype(np.float32)
    filters, bias = (rng.normal(size=s).astype(np.float32) for s in ((3, 3, 40, out), (out,)))
    with tf.Graph().as_default():
        x, w = tf.placeholder(tf.float32, images.shape), tf.constant(filters)
        z = tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME") + bias
        (y, gw), text = run([tf.tanh(z), *tf.gradients(z, [w])], {x: images})
    attrs = {"groups": 1, "strides": (1, 1), "dilations": (1, 1), "padding": "SAME"}
    exact = images.astype("f8")
    wanted = convolution_numpy(exact, filters.astype("f8"), **attrs) + bias
    np.testing.assert_allclose(y, np.tanh(wanted), atol=1e-4)
    wanted = filter_grad_numpy(exact, np.ones(y.shape), (3, 3), called="", **attrs)
    np.testing.assert_allclose(gw, wanted, rtol=1e-4, atol=1e-3)
    assert "valid_convolution" in text and "windows" not in text


def test_a_long_product_of_few_columns_needs_little_of_the_stack() -> None:
    rows = np.ones((1_000_000, 64), np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, rows.shape)
        y = tf.nn.relu(tf.matmul(x, np.ones((64, 3), np.float32)) - 1.0)
        assert np.all(session.run(y, {x: rows}) == 63)


def test_int8_wraps_and_casts_give_the_sums():
    """As the documentation of conv2d and matmul says."""
    x, w = np.full((1, 4, 4, 8), 100, np.int8), np.full((3, 3, 8, 8), 3, np.int8)
    narrow, rows = tf.placeholder(tf.int8, x.shape), tf.placeholder(tf.int8, [1, 8])
    wraps = tf.nn.conv2d(narrow, w, 1, "VALID")
    sums = tf.nn.conv2d(tf.cast(narrow, tf.int32), w.astype(np.int32), 1, "VALID")
    products = tf.matmul(rows, w[0, 0]), tf.matmul(rows, w[0, 0], output_type=tf.int32)
    found = tf.Session().run([wraps, sums, *products], {narrow: x, rows: x[0, 0, :1]})
    assert [v.ravel()[0] for v in found] == [np.int32(21600).astype(np.int8), 21600, 96, 2400]
    assert [v.dtype for v in found] == [np.int8, np.int32] * 2


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("hold", [tf.constant, tf.Variable])
def test_filters_that_no_run_changes_give_what_fed_ones_do(seed: int, hold: Any) -> None:
    d = Drawn(seed)
    g, _, _ = d.expected()
    found = []
    for filters in (tf.placeholder, hold):
        with tf.Graph().as_default(), tf.Session() as session:
            w = filters(d.dtype, d.filters.shape) if filters is tf.placeholder else filters(d.filters)
            feeds = {w: d.filters} if filters is tf.placeholder else {}
            session.run(tf.global_variables_initializer())
            x = tf.placeholder(d.dtype, (d.batch, *d.x.shape[1:]))
            gg = tf.placeholder(d.dtype, (d.batch, *g.shape[1:]))
            back = convolution_input_grad(gg, w, shape=d.spatial, **d.attrs)
            found.append(session.run([convolution(x, w, **d.attrs), back], {**feeds, x: d.x, gg: g}))
    scale = [np.abs(a.astype(np.float64)).max(initial=1) for a in found[0]]
    for a, b, most in zip(*found, scale, strict=True):
        error = 2 * ERRORS.get(d.dtype, 0) * most
        np.testing.assert_allclose(a.astype(np.float64), b.astype(np.float64), rtol=0, atol=error)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("rows", "inner", "columns"), [
    (4, 64, 70), (40, 334, 77), (70, 1030, 130), (3, 9, 33)])
def test_a_matrix_of_halves_is_packed_once(transpose: bool, rows: int, inner: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    a, b = (rng.normal(size=s).astype(bfloat16.numpy) for s in ((rows, inner), (inner, columns)))
    held = np.ascontiguousarray(b.T) if transpose else b
    with tf.Graph().as_default(), tf.Session() as session:
        x, w = tf.placeholder(tf.bfloat16, a.shape), tf.Variable(held)
        y = tf.matmul(x, w, transpose_b=transpose)
        session.run(w.initializer)
        for factor in (1, -2):
            session.run(w.assign((factor * held.astype("f4")).astype(bfloat16.numpy)))
            wanted = factor * (a.astype("f8") @ b.astype("f8"))
            np.testing.assert_allclose(session.run(y, {x: a}).astype("f8"), wanted, rtol=2.0 ** -8,
                                       atol=1e-5 * inner)
