"""Values of a real TensorFlow, where one is installed here, or for the Python that a variable names.

GRAPHFLOW_TEST_TENSORFLOW=/path/to/python runs these tests where TensorFlow has an environment of its own.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from fresh import graph  # noqa: F401

import graphflow as tf

_PYTHON = os.environ.get("GRAPHFLOW_TEST_TENSORFLOW") or (
    sys.executable if importlib.util.find_spec("tensorflow") else "")
pytestmark = pytest.mark.skipif(not _PYTHON, reason="TensorFlow is not installed")

_SCRIPT = """
import pickle, sys
import tensorflow.compat.v1 as tf
tf.disable_eager_execution()
cases, results = pickle.load(sys.stdin.buffer), []
for source, arrays in cases:
    with tf.Graph().as_default(), tf.Session() as sess:
        xs = [tf.constant(a) for a in arrays]
        y = eval(source)(tf, *xs)
        floats = [x for x in xs if x.dtype.is_floating]
        try:
            slopes = tf.gradients(y, floats) if y.dtype.is_floating else []
        except LookupError:  # no gradient of this one in TensorFlow
            slopes = []
        results.append(sess.run([y, *slopes]))
sys.stdout.buffer.write(pickle.dumps(results, protocol=4))
"""


def _image(*shape):
    return np.random.default_rng(sum(shape)).uniform(-3, 9, shape).astype(np.float32)


def _matrices(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


_RESIZED = [(f"lambda tf, x: tf.image.resize_{how}(x, {list(size)}, {corners})", [_image(*shape)])
            for how in ("bicubic", "area", "bilinear", "nearest_neighbor") for corners in (False, True)
            for shape, size in (((1, 5, 4, 2), (9, 11)), ((2, 9, 8, 1), (4, 3)), ((1, 7, 6, 3), (7, 1)),
                                ((1, 3, 3, 1), (3, 8)))]
CASES = [
    *_RESIZED,
    *((f"lambda tf, x: tf.image.resize_bicubic(x, {size}, half_pixel_centers=True)", [_image(1, 5, 6, 2)])
      for size in ([9, 4], [3, 13])),
    *((f"lambda tf, x, y: tf.einsum({eq!r}, x, y)", [_matrices(*a), _matrices(*b)]) for eq, a, b in (
        ("ij,jk->ik", (2, 3), (3, 4)), ("aij,ajk->aik", (2, 3, 4), (2, 4, 2)), ("ij,ij->", (2, 3), (2, 3)))),
    *((f"lambda tf, x: tf.{f}", [_matrices(2, 4, 3)]) for f in (
        "trace(x)", "matrix_diag_part(x)", "matrix_band_part(x, 1, 0)", "matrix_diag(x)", "norm(x)",
        "norm(x, axis=1)", "norm(x, 1, axis=-1)", "norm(x, 3, axis=0)", "norm(x, axis=[1, 2])",
        "norm(x, 1, axis=[1, 2])", "matrix_set_diag(x, x[:, 0] * 2)", "cross(x, x + 1)")),
    ("lambda tf, x: tf.diag_part(x)", [_matrices(2, 3, 2, 3)]),
    *((f"lambda tf, x: tf.unique_with_counts(x)[{k}]", [np.array([3, 1, 3, 7, 1, 1])]) for k in range(3))]


@pytest.fixture(scope="module")
def expected():
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    cases = pickle.dumps(CASES, protocol=4)
    done = subprocess.run([_PYTHON, "-c", _SCRIPT], input=cases, capture_output=True, env=quiet)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return pickle.loads(done.stdout)


@pytest.mark.parametrize("k", range(len(CASES)), ids=[source[11:] for source, _ in CASES])
def test_values_and_gradients_are_tensorflows(k, expected):
    source, arrays = CASES[k]
    xs = [tf.constant(a) for a in arrays]
    y = eval(source)(tf, *xs)
    floats = [x for x in xs if x.dtype.is_floating]
    slopes = tf.gradients(y, floats) if y.dtype.is_floating else []
    found = tf.Session().run([y, *slopes[:len(expected[k]) - 1]])
    for a, b in zip(found, expected[k], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
        assert a.dtype == b.dtype and a.shape == b.shape
