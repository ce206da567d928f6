"""Fit a line to noisy points by gradient descent, with the gradient written by tf.gradients.

    python examples/linear_regression.py
"""

from __future__ import annotations

import numpy as np

import graphflow as tf


def main() -> tuple[float, float]:
    """Print the fit every 40 steps; gives slope and intercept."""
    rng = np.random.RandomState(1)
    xs = rng.uniform(-1, 1, 200).astype(np.float32)
    ys = 3 * xs + 2 + rng.normal(0, 0.1, 200).astype(np.float32)

    x = tf.placeholder(tf.float32, [None], name="x")
    y = tf.placeholder(tf.float32, [None], name="y")
    slope = tf.Variable(0.0, name="slope")
    intercept = tf.Variable(0.0, name="intercept")
    loss = tf.reduce_mean(tf.square(slope * x + intercept - y))
    d_slope, d_intercept = tf.gradients(loss, [slope, intercept])
    step = tf.group(tf.assign_sub(slope, 0.1 * d_slope), tf.assign_sub(intercept, 0.1 * d_intercept))

    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for k in range(201):
            error, a, b, _ = sess.run([loss, slope, intercept, step], feed_dict={x: xs, y: ys})
            if k % 40 == 0:
                print(f"step {k:3}  loss {error:.4f}  y = {a:.3f} x + {b:.3f}")
    return float(a), float(b)


if __name__ == "__main__":
    main()
