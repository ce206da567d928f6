"""Add an op in a script: one record, and it fuses, differentiates and is tested as the built-in ops are.

The op is the Huber loss of a residual, quadratic near zero and linear beyond `delta`.

    python examples/custom_op.py
"""

from __future__ import annotations

import numpy as np

import graphflow as tf
from graphflow import extend as gx
from graphflow.compiler.ir.graph import Operation
from graphflow.testing import check_op


def huber_expression(op: Operation, x: gx.scalar.Expr) -> gx.scalar.Expr:
    """One element: x*x/2 where |x| <= delta, else delta*(|x| - delta/2)."""
    size = gx.scalar.call("abs", x)
    return gx.scalar.select(size <= op.delta, 0.5 * x * x, op.delta * (size - 0.5 * op.delta))


def huber_numpy(x: np.ndarray, delta: float) -> np.ndarray:
    size = np.abs(x)
    return np.where(size <= delta, 0.5 * x * x, delta * (size - 0.5 * delta))


huber = gx.OpDef(
    "huber", "x", attrs={"delta": 1.0},
    infer=gx.elementwise("float"),                                        # dtype and shape
    grad=lambda op, g: g * tf.clip_by_value(op.x, -op.delta, op.delta),   # symbolic, so second ones come free
    lower=gx.pointwise_op(huber_expression),                              # the kernel
    numpy=huber_numpy,                                                    # eager mode, the tests' reference
    samples=gx.shapes(*gx.UNARY) + gx.shapes([(3, 4)], delta=0.3))        # its tests


def main() -> float:
    """Check the record, then fit a line to points with outliers; gives the slope."""
    check_op(huber)
    print("huber: value, types, lowering, first and second gradients, compiled program: all checked")

    rng = np.random.RandomState(0)
    xs = rng.uniform(-1, 1, 300).astype(np.float32)
    ys = 3 * xs + rng.normal(0, 0.1, 300).astype(np.float32)
    ys[::10] += 20  # outliers, which squares would follow
    x, y = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.float32, [None])
    slope = tf.Variable(0.0, name="slope")
    loss = tf.reduce_mean(huber(slope * x - y, delta=0.5))
    train = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(200):
            sess.run(train, {x: xs, y: ys})
        print(f"slope {sess.run(slope):.3f} (the points without outliers have 3)")
        print(tf.compare(loss, {x: xs, y: ys}))
        return float(sess.run(slope))


if __name__ == "__main__":
    main()
