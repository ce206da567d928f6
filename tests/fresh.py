"""What the tests of runs share: a graph of their own, and a session whose variables have their values."""

from __future__ import annotations

import pytest

import graphflow as tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g


def session() -> tf.Session:
    sess = tf.Session()
    if tf.global_variables():
        sess.run(tf.global_variables_initializer())
    return sess
