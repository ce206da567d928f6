"""Variables, variable scopes and initializers."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest

import graphflow as tf
from graphflow import errors
from graphflow.compiler import flags


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g


def initialized():
    sess = tf.InteractiveSession(graph=tf.get_default_graph())
    sess.run(tf.global_variables_initializer())
    return sess


@pytest.fixture
def session(graph):
    sess = None

    def start():
        nonlocal sess
        sess = initialized()
        return sess

    yield start
    if sess is not None:
        sess.close()


def test_what_a_variable_shows():
    w = tf.Variable(tf.zeros([2, 3]), name="W")
    assert (w.name, w.op.name, w.dtype) == ("W:0", "W", tf.float32)
    assert w.shape == [2, 3] and w.get_shape().as_list() == [2, 3]
    assert w.op.type == "VariableV2" and w.graph is tf.get_default_graph() and w.trainable
    assert repr(w) == "<tf.Variable 'W:0' shape=(2, 3) dtype=float32>"
    assert w.initializer.name == "W/Assign" and isinstance(w.initializer, tf.Operation)
    assert tf.Variable(1.0, name="W").name == "W_1:0"
    with tf.name_scope("s"):
        assert tf.Variable(1.0, name="W").name == "s/W:0"
    with pytest.raises(ValueError, match="initial value"):
        tf.Variable()
    with pytest.raises(errors.ShapeError, match="not known before a run"):
        tf.Variable(tf.placeholder(tf.float32, [None]))


def test_collections_of_variables():
    a = tf.Variable(1.0)
    b = tf.Variable(0, trainable=False)
    c = tf.Variable(0, trainable=False, collections=[tf.GraphKeys.LOCAL_VARIABLES])
    d = tf.Variable(0.0, collections=["mine"])
    assert tf.global_variables() == tf.all_variables() == [a, b] and tf.local_variables() == [c]
    assert tf.trainable_variables() == [a, d] and tf.get_collection("mine") == [d]
    assert d != a and len({a, b, a}) == 2


def test_changes(session):
    w = tf.Variable([1.0, 2.0])
    n = tf.Variable(0, trainable=False)
    steps = [w.assign([3, 4]), w.assign_add([1, 1]), tf.assign_sub(w, tf.constant([4.0, 5.0])),
             tf.assign(w, [7, 7])]
    count = tf.assign_add(n, 1)
    twice = tf.assign_add(tf.assign(n, 10), 5)
    sess = session()
    assert [sess.run(s).tolist() for s in steps] == [[3, 4], [4, 5], [0, 0], [7, 7]]
    assert sess.run(count) == 1 and sess.run([count, n])[0] == 2 and n.eval() == 2
    assert sess.run(twice) == 15 and w.eval(sess).tolist() == [7, 7]
    assert sess.run(w.assign([1, 2], read_value=False)) is None and w.eval().tolist() == [1, 2]
    w.load([8, 9], sess)
    assert w.eval().tolist() == [8, 9]
    with pytest.raises(ValueError, match="shape"):
        w.load([1, 2, 3], sess)


@pytest.mark.parametrize("change, error, words", [
    (lambda w: w.assign([1, 2, 3]), errors.ShapeError, "value"),
    (lambda w: w.assign(tf.constant([1, 2])), TypeError, "int32"),
    (lambda w: tf.assign(w + 1, [1, 2]), ValueError, "no variable"),
    (lambda w: tf.assign(3, 4), TypeError, "3"),
])
def test_changes_that_do_not_fit(change, error, words):
    with pytest.raises(error, match=words):
        change(tf.Variable([1.0, 2.0]))


def test_reads_see_writes_only_through_dependencies(session):
    w = tf.Variable(1.0)
    add = w.assign_add(1.0)
    plain = w + 0.0
    with tf.control_dependencies([add]):
        after = w + 0.0
        explicit = w.read_value()
    sess = session()
    assert sess.run([plain, add]) == [1, 2]
    assert sess.run([add, after, explicit, plain]) == [3, 3, 3, 2]


def test_gradients_reach_every_read(session):
    w = tf.Variable(3.0)
    with tf.control_dependencies([tf.no_op()]):
        y = w * w
    g = tf.gradients(y + 2 * w, w)[0]
    assert session().run(g) == 8


def test_uninitialized_variables_are_named():
    w = tf.Variable(1.0, name="forgotten")
    with tf.Session() as sess, pytest.raises(errors.FailedPreconditionError,
                                             match=r"forgotten[\s\S]*initializer"):
        sess.run(w + 1)


def test_initial_values_may_depend_on_each_other(session):
    a = tf.Variable(tf.random_normal([4]))
    b = tf.Variable(a.initialized_value() * 2)
    c = tf.Variable(b + a)
    va, vb, vc = session().run([a, b, c])
    np.testing.assert_allclose(vb, 2 * va)
    np.testing.assert_allclose(vc, 3 * va, rtol=1e-6)


def test_initial_values_of_every_kind(session):
    made = [tf.Variable(lambda: tf.ones([2])), tf.Variable(np.ones(2)), tf.Variable([1, 1], dtype=tf.int64),
            tf.Variable(True), tf.Variable(tf.fill([2], 1.0))]
    assert [v.dtype for v in made] == [tf.float32, tf.float64, tf.int64, tf.bool, tf.float32]
    assert [v.tolist() for v in session().run(made)] == [[1, 1], [1, 1], [1, 1], True, [1, 1]]


# Variable scopes

def test_names_come_from_variable_scopes_alone():
    with tf.name_scope("ignored"), tf.variable_scope("a") as scope:
        with tf.variable_scope("b"):
            v = tf.get_variable("v", [2])
            assert v.name == "a/b/v:0" and (v + 1).name == "ignored/a/b/add:0"
        assert scope.name == "a" and scope.original_name_scope == "ignored/a/"
        assert tf.get_variable_scope() is scope
    assert tf.get_variable_scope().name == ""


def test_reuse_shares():
    with tf.variable_scope("a"):
        v = tf.get_variable("v", [2])
    with tf.variable_scope("a", reuse=True):
        assert tf.get_variable("v", [2]) is v and tf.get_variable("v") is v
        with tf.variable_scope("inner"), pytest.raises(errors.GraphError, match="does not exist"):
            tf.get_variable("v", [2])
    with tf.variable_scope("a", reuse=tf.AUTO_REUSE):
        assert tf.get_variable("v", [2]) is v
        u = tf.get_variable("u", [2])
    with tf.variable_scope("a") as scope:
        scope.reuse_variables()
        assert tf.get_variable("u") is u
    with tf.variable_scope("a"):
        tf.get_variable_scope().reuse_variables()
        assert tf.get_variable("u") is u
    assert not tf.get_variable_scope().reuse


@pytest.mark.parametrize("make, error, words", [
    (lambda: tf.get_variable("v", [2]), errors.GraphError,
     r"already exists, made at .*test_variables.py:\d+"),
    (lambda: reused("v", [3]), errors.ShapeError, r"\(2,\)"),
    (lambda: reused("v", [2], tf.int32), TypeError, "int32"),
    (lambda: reused("w", [2]), errors.GraphError, "close to it: s/v"),
    (lambda: tf.get_variable("x"), errors.ShapeError, "shape is needed"),
    (lambda: tf.get_variable("x", [None, 2]), errors.ShapeError, "unknown dims"),
    (lambda: tf.get_variable("x", [2], initializer=tf.zeros([2])), ValueError, "give none"),
    (lambda: tf.variable_scope(None), TypeError, "default_name"),
    (lambda: tf.variable_scope(None, "d", reuse=True), ValueError, "name_or_scope"),
    (lambda: tf.variable_scope(3), TypeError, "3"),
])
def test_errors_of_shared_variables(make, error, words):
    tf.get_variable("s/v", [2])
    tf.get_variable("v", [2])
    with pytest.raises(error, match=words):
        make()


def reused(name, *args):
    with tf.variable_scope("s", reuse=True):
        return tf.get_variable(name, *args)


def test_default_names_are_made_unique_and_reusable():
    def block():
        with tf.variable_scope(None, "dense"):
            return tf.get_variable("w", [1]).name

    with tf.variable_scope("net") as scope:
        assert [block(), block()] == ["net/dense/w:0", "net/dense_1/w:0"]
    with tf.variable_scope(scope, reuse=True):
        assert [block(), block()] == ["net/dense/w:0", "net/dense_1/w:0"]
    with tf.variable_scope("net", reuse=True):
        assert block() == "net/dense/w:0"


def test_a_scope_object_is_entered_as_it_is():
    with tf.variable_scope("a", initializer=tf.ones_initializer()) as a:
        pass
    with tf.variable_scope("b"), tf.variable_scope(a) as again:
        assert again.name == "a" and again.initializer is a.initializer
        assert tf.get_variable("v", [1]).name == "a/v:0"
        assert tf.no_op().name == "b/a/NoOp"


def test_settings_of_a_scope_are_defaults(session):
    def penalty(v):
        return tf.reduce_sum(v) * 0.5

    with tf.variable_scope("a", initializer=tf.constant_initializer(3.0), regularizer=penalty,
                           dtype=tf.float64):
        v = tf.get_variable("v", [2])
        u = tf.get_variable("u", [2], initializer=lambda shape, dtype=None,
                            partition_info=None: tf.ones(shape, dtype))
        n = tf.get_variable("n", initializer=np.int32(4), regularizer=tf.no_regularizer)
    assert v.dtype is tf.float64 and n.dtype is tf.int32
    losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    assert [x.op.name.split("/")[:3] for x in losses] == [["a", "v", "Regularizer"],
                                                          ["a", "u", "Regularizer"]]
    values = session().run([v, u, n, tf.add_n(losses)])
    assert values[0].tolist() == [3, 3] and values[1].tolist() == [1, 1] and values[2:] == [4, 4]


def test_custom_getters_wrap_each_other():
    seen = []

    def tag(label):
        def getter(get, name, *args, **kwargs):
            seen.append((label, name))
            return get(name, *args, **kwargs)
        return getter

    inner = tf.variable_scope("b", custom_getter=tag("inner"))
    with tf.variable_scope("a", custom_getter=tag("outer")), inner:
        tf.get_variable("v", [1], custom_getter=tag("own"))
    assert seen == [("own", "a/b/v"), ("inner", "a/b/v"), ("outer", "a/b/v")]


def test_scope_collections():
    with tf.variable_scope("a") as scope:
        v = tf.get_variable("v", [1])
    tf.get_variable("ab", [1])
    assert scope.trainable_variables() == [v] and scope.global_variables() == [v]
    local = tf.get_local_variable("l", [1])
    assert tf.local_variables() == [local] and local not in tf.trainable_variables()


def test_old_scope_spellings():
    with tf.variable_op_scope([], None, "old") as scope, tf.op_scope([], "ops") as name:
        assert scope.name == "old" and name == "old/ops/"


# Initializers

INITIALIZERS = [
    (tf.zeros_initializer(), 0, 0), (tf.ones_initializer(), 1, 0), (tf.constant_initializer(2), 2, 0),
    (tf.random_normal_initializer(1.0, 0.5), 1, 0.5), (tf.random_uniform_initializer(-1, 1), 0, 1 / 3**0.5),
    (tf.truncated_normal_initializer(stddev=0.1), 0, 0.088),
    (tf.glorot_uniform_initializer(), 0, (2 / 500) ** 0.5),
    (tf.glorot_normal_initializer(), 0, (2 / 500) ** 0.5),
    (tf.variance_scaling_initializer(2.0), 0, (2 / 300) ** 0.5),
    (tf.variance_scaling_initializer(distribution="uniform", mode="fan_out"), 0, (1 / 200) ** 0.5),
    (tf.variance_scaling_initializer(distribution="untruncated_normal"), 0, (1 / 300) ** 0.5),
    (tf.uniform_unit_scaling_initializer(), 0, (1 / 300) ** 0.5),
    (tf.initializers.he_normal(), 0, (2 / 300) ** 0.5),
    (tf.initializers.he_uniform(), 0, (2 / 300) ** 0.5),
    (tf.initializers.lecun_normal(), 0, (1 / 300) ** 0.5),
    (None, 0, (2 / 500) ** 0.5), (tf.zeros_initializer, 0, 0),
]


def test_initializers_have_their_mean_and_deviation(session):
    tf.set_random_seed(1)
    variables = [tf.get_variable(f"v{k}", [300, 200], initializer=i) for k,
                 (i, _, _) in enumerate(INITIALIZERS)]
    values = session().run(variables)
    for value, (init, mean, deviation) in zip(values, INITIALIZERS, strict=True):
        assert value.mean() == pytest.approx(mean, abs=0.01 * deviation + 1e-6), init
        assert value.std() == pytest.approx(deviation, rel=0.02, abs=1e-6), init
    assert abs(values[5]).max() <= 0.2


@pytest.mark.parametrize("initializer, value", [
    (tf.zeros_initializer, 0), (tf.ones_initializer, 1), (lambda: tf.constant_initializer(2.5), 2.5),
    (lambda: tf.constant_initializer([2.5]), 2.5)])
@pytest.mark.parametrize("shape", [[], [3], [40, 50]])
def test_large_variables_of_one_value_are_filled(session, initializer, value, shape):
    v = tf.get_variable("v", shape, initializer=initializer())
    assert v.initial_value.op.type == ("Fill" if shape == [40, 50] else "Const")
    assert v.dtype is tf.float32 and np.array_equal(session().run(v), np.full(shape, value, np.float32))


def test_a_constant_keeps_the_values_it_was_made_of(session):
    writable, frozen = np.ones(3, np.float32), np.ones(3, np.float32)
    frozen.flags.writeable = False
    made = [tf.constant(writable), tf.constant(frozen), tf.Variable(writable).initial_value]
    frozen.flags.writeable = True
    writable[:], frozen[:] = 5, 5
    assert [v.tolist() for v in session().run(made)] == [[1, 1, 1]] * 3


def test_initializers_take_shapes_and_dtypes():
    assert tf.constant_initializer([1, 2, 3, 4])([2, 2]).op.attrs["value"].array.tolist() == [[1, 2], [3, 4]]
    assert tf.initializers.identity()([2, 2]).op.attrs["value"].array.tolist() == [[1, 0], [0, 1]]
    assert tf.zeros_initializer()([2], tf.int32).dtype is tf.int32
    assert tf.glorot_uniform_initializer().get_config()["scale"] == 1.0
    assert tf.get_variable("b", [2], tf.bool).dtype is tf.bool
    with pytest.raises(TypeError, match="floats"):
        tf.glorot_uniform_initializer()([2], tf.int32)
    with pytest.raises(ValueError, match="fan"):
        tf.variance_scaling_initializer(mode="fan")


# Locking

def in_threads(work, count=4):
    workers = [threading.Thread(target=work) for _ in range(count)]
    for t in workers:
        t.start()
    for t in workers:
        t.join()


@pytest.mark.parametrize("size", [3, 1_000_000])
def test_with_locking_no_change_is_lost(size):
    v, n = tf.Variable(np.zeros(size, np.float32)), tf.Variable(0)
    one = tf.exp(tf.zeros([size]))
    steps = [tf.group(v.assign_add(one, use_locking=True), n.assign_add(1)),
             tf.group(tf.assign_sub(v, -one, use_locking=True), n.assign_add(1))]
    sess = tf.Session()
    sess.run(tf.global_variables_initializer())

    def work():
        for k in range(40):
            sess.run(steps[k % 2])

    in_threads(work)
    found = sess.run(v)
    assert sess.run(n) == found.min() == found.max() == 160


@pytest.mark.parametrize("make", [
    tf.train.GradientDescentOptimizer, tf.train.AdamOptimizer, tf.train.AdagradOptimizer,
    tf.train.AdadeltaOptimizer, tf.train.RMSPropOptimizer, tf.train.FtrlOptimizer,
    lambda rate, use_locking: tf.train.MomentumOptimizer(rate, 0.9, use_locking)])
def test_steps_of_optimizers_with_locking_run_one_at_a_time(make, monkeypatch):
    def of(use_locking):
        with tf.Graph().as_default():
            w = tf.Variable(1.0)
            step = make(0.5, use_locking=use_locking).minimize(w * w)
            with tf.Session() as sess:
                sess.run(tf.global_variables_initializer())
                return sess.engine.prepare([], [step], []).plan_for(())[0].program.alone

    assert [of(False), of(True)] == [False, True]


@pytest.mark.skipif(not flags.use_jit(), reason="a handler may come in the midst of an interpreted step")
def test_a_signals_handler_may_run_what_uses_locking():
    v = tf.Variable(np.zeros(1000, np.float32))
    step = v.assign_add(tf.ones([1000]), use_locking=True)
    sess = tf.Session()
    sess.run(tf.global_variables_initializer())
    runs = []

    def handler(*_):
        runs.append(sess.run(step.op))
        signal.setitimer(signal.ITIMER_REAL, 1e-3)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-3)
    try:
        for _ in range(2000):
            sess.run(step)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert sess.run(v).min() == 2000 + len(runs) > 2000
