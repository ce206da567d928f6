"""What the tests of loops share: compiled against eager, and derivatives against differences."""

from __future__ import annotations

import pytest

import graphflow as tf


@pytest.fixture(params=["native", "interpreted"], autouse=True)
def way(request, monkeypatch):
    """Each test by native code and by the interpreter of loop nests, with every pass checked."""
    if request.param == "interpreted":
        monkeypatch.setenv("GRAPHFLOW_JIT", "0")
    monkeypatch.setenv("GRAPHFLOW_CHECK", "1")
    return request.param


def run(fetches, feeds=None):
    """Compiled values, compared with the oracle's."""
    sess = tf.Session()
    sess.run(tf.global_variables_initializer())
    found = tf.compare(fetches, feeds, sess)
    for d in found.differences:
        assert d.max_relative < 1e-5 or d.max_absolute < 1e-5, str(found)
    return sess.run(fetches, feeds)


def check_slope(y, x, at, eps=1e-5):
    """First and second derivatives of a scalar in float64 against central differences."""
    first, = tf.gradients(y, x)
    second, = tf.gradients(first, x)
    values = run([y, first, second], {x: at})
    sess = tf.Session()
    low, high = (sess.run([y, first], {x: at + d}) for d in (-eps, eps))
    assert values[1] == pytest.approx((high[0] - low[0]) / (2 * eps), rel=1e-5, abs=1e-6)
    assert values[2] == pytest.approx((high[1] - low[1]) / (2 * eps), rel=1e-5, abs=1e-6)
    return values
