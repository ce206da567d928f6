"""Optimizers against their formulas in numpy, their names and slots, schedules, averages and clipping."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as tf

START = np.array([1.0, -2.0, 3.0], np.float32)
SLOPE = np.array([0.5, 2.0, -1.0], np.float32)
STEPS = 4


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g


# Each reference makes one step; the loss is sum(SLOPE * w^2) / 2, so that the gradient is SLOPE * w.

def descent(w, g, t, s):
    return w - 0.1 * g


def momentum(w, g, t, s, nesterov=False):
    s["m"] = 0.9 * s.get("m", 0) + g
    return w - 0.1 * (g + 0.9 * s["m"] if nesterov else s["m"])


def adam(w, g, t, s):
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return w - rate * s["m"] / (np.sqrt(s["v"]) + 1e-8)


def adagrad(w, g, t, s):
    s["a"] = s.get("a", 0.1) + g * g
    return w - 0.1 * g / np.sqrt(s["a"])


def adadelta(w, g, t, s):
    s["a"] = 0.95 * s.get("a", 0) + 0.05 * g * g
    d = g * np.sqrt(s.get("u", 0) + 1e-8) / np.sqrt(s["a"] + 1e-8)
    s["u"] = 0.95 * s.get("u", 0) + 0.05 * d * d
    return w - 1.0 * d


def rmsprop(w, g, t, s, centered=False):
    s["a"] = 0.9 * s.get("a", 1.0) + 0.1 * g * g
    s["c"] = 0.9 * s.get("c", 0) + 0.1 * g
    a = s["a"] - s["c"] ** 2 if centered else s["a"]
    s["m"] = 0.5 * s.get("m", 0) + 0.1 * g / np.sqrt(a + 1e-10)
    return w - s["m"]


def ftrl(w, g, t, s):
    n, z = s.get("n", 0.1), s.get("z", 0)
    s["n"] = n + g * g
    s["z"] = z + g - (np.sqrt(s["n"]) - np.sqrt(n)) / 0.1 * w
    shrunk = np.sign(s["z"]) * 0.2 - s["z"]
    return np.where(abs(s["z"]) <= 0.2, 0, shrunk / (np.sqrt(s["n"]) / 0.1 + 2 * 0.3))


CASES = [
    (lambda: tf.train.GradientDescentOptimizer(0.1), descent, []),
    (lambda: tf.train.MomentumOptimizer(0.1, 0.9), momentum, ["momentum"]),
    (lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True), lambda *a: momentum(*a, nesterov=True),
     ["momentum"]),
    (lambda: tf.train.AdamOptimizer(0.1), adam, ["m", "v"]),
    (lambda: tf.train.AdamOptimizer(tf.constant(0.1)), adam, ["m", "v"]),
    (lambda: tf.train.AdagradOptimizer(0.1), adagrad, ["accumulator"]),
    (lambda: tf.train.AdadeltaOptimizer(1.0), adadelta, ["accum", "accum_update"]),
    (lambda: tf.train.RMSPropOptimizer(0.1, 0.9, 0.5), rmsprop, ["momentum", "rms"]),
    (lambda: tf.train.RMSPropOptimizer(0.1, 0.9, 0.5, centered=True), lambda *a: rmsprop(*a, centered=True),
     ["mg", "momentum", "rms"]),
    (lambda: tf.train.FtrlOptimizer(0.1, l1_regularization_strength=0.2, l2_regularization_strength=0.3),
     ftrl, ["accum", "linear"]),
]


def test_steps_follow_the_formula():
    """All optimizers, for float32 and float64, in one program."""
    runs = []
    for make, reference, slots in CASES:
        for dtype, tolerance in ((np.float32, 2e-5), (np.float64, 1e-6)):
            w = tf.Variable(START.astype(dtype))
            optimizer = make()
            step = optimizer.minimize(tf.reduce_sum(SLOPE.astype(dtype) * tf.square(w)) / 2)
            runs.append((w, step, reference, tolerance, {}))
            assert optimizer.get_slot_names() == slots
            assert all(optimizer.get_slot(w, s).shape == [3] and optimizer.get_slot(w, s).dtype is w.dtype
                       for s in slots)
    train, variables = tf.group(*[step for _, step, *_ in runs]), [w for w, *_ in runs]
    expected = [START.astype(np.float64)] * len(runs)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for t in range(1, STEPS + 1):
            sess.run(train)
            got = sess.run(variables)
            for k, (w, step, reference, tolerance, state) in enumerate(runs):
                expected[k] = reference(expected[k], SLOPE * expected[k], t, state)
                np.testing.assert_allclose(got[k], expected[k], rtol=tolerance,
                                           err_msg=f"{step.name} {w.dtype}")


def loss_of(*variables):
    return tf.add_n([tf.reduce_sum(tf.square(v)) for v in variables])


def test_names_are_those_of_tf1():
    with tf.variable_scope("layer"):
        w = tf.get_variable("w", [2])
    b = tf.Variable([1.0], name="b")
    adam = tf.train.AdamOptimizer()
    assert adam.minimize(loss_of(w, b)).name == "Adam"
    assert [v.name for v in tf.global_variables()[2:]] == [
        "beta1_power:0", "beta2_power:0", "layer/w/Adam:0", "layer/w/Adam_1:0", "b/Adam:0", "b/Adam_1:0"]
    assert adam.get_slot(w, "m").name == "layer/w/Adam:0" and adam.get_slot(w, "none") is None
    assert adam.get_name() == "Adam" and len(adam.variables()) == 6
    assert tf.trainable_variables() == [w, b]
    second = tf.train.AdamOptimizer()
    assert second.minimize(loss_of(w), name="again").name == "again"
    assert [v.name for v in second.variables()] == ["beta1_power_1:0", "beta2_power_1:0", "layer/w/Adam_2:0",
                                                    "layer/w/Adam_3:0"]
    assert tf.train.GradientDescentOptimizer(0.1).minimize(loss_of(w)).name == "GradientDescent"
    assert len(tf.get_collection(tf.GraphKeys.TRAIN_OP)) == 3


def test_gradients_may_be_taken_apart_and_put_together():
    w, b, unused = tf.Variable([3.0, 4.0]), tf.Variable(1.0), tf.Variable(1.0)
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(loss_of(w, b), var_list=(w, b, unused))
    assert [v for _, v in pairs] == [w, b, unused] and pairs[2][0] is None
    grads, variables = zip(*pairs, strict=True)
    clipped, norm = tf.clip_by_global_norm(grads, 1.0)
    step = tf.Variable(0, trainable=False)
    train = optimizer.apply_gradients(zip(clipped, variables, strict=True), global_step=step)
    pairs[0] = (-pairs[0][0], w)
    up = optimizer.apply_gradients([(g, v) for g, v in pairs if g is not None and v is w])
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        root = 104**0.5
        assert sess.run([norm, train])[0] == pytest.approx(root)
        np.testing.assert_allclose(sess.run(w), [3 - 6 / root, 4 - 8 / root], rtol=1e-5)
        assert sess.run(b) == pytest.approx(1 - 2 / root, rel=1e-5) and sess.run([step, unused]) == [1, 1]
        before = sess.run(w)
        sess.run(up)
        np.testing.assert_allclose(sess.run(w), 3 * before, rtol=1e-5)


def test_variables_may_be_chosen():
    a, b = tf.Variable(1.0, name="a"), tf.Variable(1.0, name="b")
    train = tf.train.GradientDescentOptimizer(0.5).minimize(loss_of(a, b), var_list=[b])
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        loss = loss_of(a, b)
        assert sess.run([loss, train]) == [2, None]  # the loss before the step
        assert sess.run([a, b]) == [1, 0]


def test_a_fed_learning_rate_changes_from_run_to_run():
    rate = tf.placeholder(tf.float32, [])
    w = tf.Variable(1.0)
    train = tf.train.GradientDescentOptimizer(rate).minimize(w * 1.0)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for r in (0.5, 0.25):
            train.run({rate: r})
        assert w.eval() == 0.25


@pytest.mark.parametrize("make, words", [
    (lambda o, w: o.minimize(tf.constant(1.0)), "depends on none"),
    (lambda o, w: o.apply_gradients([(None, w)]), "no gradients"),
    (lambda o, w: o.minimize(loss_of(w), var_list=[]), "no variables"),
    (lambda o, w: tf.train.AdagradOptimizer(0.1, 0.0), "positive"),
])
def test_nothing_to_do_is_an_error(make, words):
    with pytest.raises(ValueError, match=words):
        make(tf.train.GradientDescentOptimizer(0.1), tf.Variable(1.0))


def test_only_variables_can_be_optimized():
    w = tf.Variable(1.0)
    with pytest.raises(TypeError, match="variables"):
        tf.train.GradientDescentOptimizer(0.1).minimize(w * w, var_list=[w * 1.0])


def test_updates_come_first_under_control_dependencies():
    mean = tf.Variable(0.0, trainable=False)
    w = tf.Variable(1.0)
    with tf.control_dependencies([mean.assign(5.0)]):
        train = tf.train.AdamOptimizer().minimize(w * w)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(train)
        assert mean.eval() == 5 and w.eval() < 1


def test_the_global_step():
    assert tf.train.get_global_step() is None
    with tf.variable_scope("ignored"), tf.name_scope("too"):
        pass
    step = tf.train.get_or_create_global_step()
    assert (step.name, step.dtype) == ("global_step:0",
                                       tf.int64) and tf.train.get_or_create_global_step() is step
    assert not step.trainable and tf.train.get_global_step() is step
    with pytest.raises(ValueError, match="already"):
        tf.train.create_global_step()
    w = tf.Variable(1.0)
    train = tf.train.GradientDescentOptimizer(0.1).minimize(w * w, step)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(train)
        sess.run(train)
        assert tf.train.global_step(sess, step) == 2


SCHEDULES = [
    (lambda s: tf.train.exponential_decay(0.1, s, 10, 0.5), lambda s: 0.1 * 0.5 ** (s / 10)),
    (lambda s: tf.train.exponential_decay(0.1, s, 10, 0.5, staircase=True), lambda s: 0.1 * 0.5 ** (s // 10)),
    (lambda s: tf.train.natural_exp_decay(0.1, s, 10, 0.5), lambda s: 0.1 * np.exp(-0.5 * s / 10)),
    (lambda s: tf.train.inverse_time_decay(0.1, s, 10, 0.5), lambda s: 0.1 / (1 + 0.5 * s / 10)),
    (lambda s: tf.train.polynomial_decay(0.1, s, 20, 0.01, 2.0),
     lambda s: 0.09 * (1 - min(s, 20) / 20) ** 2 + 0.01),
    (lambda s: tf.train.polynomial_decay(0.1, s, 10, 0.01, cycle=True),
     lambda s: 0.09 * (1 - s / (10 * max(1, np.ceil(s / 10)))) + 0.01),
    (lambda s: tf.train.cosine_decay(0.1, s, 20, 0.1),
     lambda s: 0.1 * (0.9 * 0.5 * (1 + np.cos(np.pi * min(s, 20) / 20)) + 0.1)),
    (lambda s: tf.train.piecewise_constant(s, [5, 17], [1.0, 0.5, 0.1]),
     lambda s: [1, 0.5, 0.1][(s > 5) + (s > 17)]),
]


def test_schedules():
    step = tf.placeholder(tf.int64, [])
    rates = [make(step) for make, _ in SCHEDULES]
    with tf.Session() as sess:
        for s in (0, 3, 5, 10, 17, 25):
            np.testing.assert_allclose(sess.run(rates, {step: s}), [f(s) for _, f in SCHEDULES], rtol=1e-5)
    with pytest.raises(ValueError, match="one value more"):
        tf.train.piecewise_constant(step, [1], [1.0])


def test_moving_averages():
    w = tf.Variable(1.0, name="w")
    t = tf.placeholder_with_default(4.0, [], name="t")
    n = tf.Variable(0, trainable=False)
    plain = tf.train.ExponentialMovingAverage(0.9)
    counted = tf.train.ExponentialMovingAverage(0.9, num_updates=n, name="counted")
    debiased = tf.train.ExponentialMovingAverage(0.9, zero_debias=True, name="debiased")
    updates = [plain.apply([w, t]), counted.apply(), debiased.apply([t])]
    assert plain.average(w).name == "w/ExponentialMovingAverage:0" and plain.average(n) is None
    assert plain.average_name(w) == "w/ExponentialMovingAverage"
    assert counted.variables_to_restore()["w/counted"] is w
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(w.assign(11.0))
        sess.run(updates)
        got = sess.run([plain.average(w), plain.average(t), counted.average(w), debiased.average(t)])
        np.testing.assert_allclose(got, [2.0, 0.4, 1 + 10 * 0.9, 4.0], rtol=1e-5)


def test_clipping():
    x = tf.constant([3.0, 4.0])
    values = [tf.clip_by_norm(x, 1.0), tf.clip_by_norm(x, 10.0), tf.clip_by_average_norm(x, 1.0),
              tf.global_norm([x, None]), *tf.clip_by_global_norm([x, None, x], 5.0)[0][::2],
              tf.gradients(tf.clip_by_norm(x * 0.0, 1.0), x)[0],
              tf.clip_by_norm(tf.stack([x, x / 10]), 1.0, axes=[1])]
    expected = [[0.6, 0.8], [3, 4], np.array([3, 4]) / 12.5**0.5, 5, np.array([3, 4]) / 2**0.5,
                np.array([3, 4]) / 2**0.5, [0, 0], [[0.6, 0.8], [0.3, 0.4]]]
    with tf.Session() as sess:
        for got, want in zip(sess.run(values), expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5)
        assert np.isnan(sess.run(tf.clip_by_global_norm([x / 0.0], 1.0)[0][0])).all()
