"""Session: what may be fetched and fed, in which structures, and what a session keeps."""

from __future__ import annotations

import collections
import threading

import numpy as np
import pytest

import graphflow as tf
from graphflow import errors

Pair = collections.namedtuple("Pair", "a b")


@pytest.fixture
def net():
    """x, y = 2x, z = x + 1 and a variable w, in one session; programs are shared by all that a test runs."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None], name="x")
        y = tf.multiply(x, 2.0, name="y")
        z = tf.add(x, 1.0, name="z")
        w = tf.Variable([1.0, 2.0], name="w")
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            yield collections.namedtuple("Net", "x y z w sess")(x, y, z, w, sess)


V = np.array([1.0, 3.0], np.float32)


def test_structures_of_fetches_come_back(net):
    x, y, z, w, sess = net
    op = tf.no_op()
    fetches = [[y, z], (y, op), Pair(y, [z, op]), {"k": y, "n": {"m": z}}, ["y:0", w, y], [y, y], [[y], ()],
               collections.OrderedDict([("b", z), ("a", y)])]
    got = sess.run(fetches, {x: V})
    ny, nz = [2, 6], [2, 4]

    def plain(v):
        if isinstance(v, dict):
            return type(v)((k, plain(i)) for k, i in v.items())
        if isinstance(v, tuple):
            return v._make(map(plain, v)) if hasattr(v, "_make") else tuple(map(plain, v))
        if isinstance(v, list):
            return [plain(i) for i in v]
        return v if v is None else v.tolist()

    assert plain(got) == [[ny, nz], (ny, None), Pair(ny, [nz, None]), {"k": ny, "n": {"m": nz}},
                          [ny, [1, 2], ny], [ny, ny], [[ny], ()], {"b": nz, "a": ny}]
    assert type(got[2]) is Pair and type(got[7]) is collections.OrderedDict


def test_equal_structures_of_other_kinds_are_told_apart(net):
    x, y, z, _w, sess = net
    kinds = [type(sess.run(make, {x: V})) for make in (Pair(y, z), (y, z), [y, z], Pair(y, z))]
    assert kinds == [Pair, tuple, list, Pair]
    nested = [type(sess.run([y, make], {x: V})[1]) for make in (Pair(y, z), (y, z), Pair(y, z))]
    assert nested == [Pair, tuple, Pair]


def test_single_fetches(net):
    x, y, _z, w, sess = net
    assert sess.run(tf.no_op()) is None
    assert sess.run(w).tolist() == [1, 2] and sess.run("w:0").tolist() == [1, 2]
    assert isinstance(sess.run([y], {x: V}), list) and sess.run([]) == []
    total = sess.run(tf.reduce_sum(w))
    assert isinstance(total, np.float32) and f"{total:.1f}" == "3.0"
    assert sess.run(tf.argmax(w, 0)) == 1 and sess.run(w * w + 1).tolist() == [2, 5]
    assert sess.run(fetches=y, feed_dict={x: V}).tolist() == [2, 6]


def test_fetched_arrays_are_the_callers_own(net):
    first = net.sess.run(net.w)
    first[:] = 0
    assert net.sess.run(net.w).tolist() == [1, 2]


FEEDS = [V, [1, 3], (1.0, 3.0), np.array([1, 3]), np.array([1, 3], np.float64), [np.float32(1), 3], V[::1],
         [True, 3]]


@pytest.mark.parametrize("value", FEEDS, ids=repr)
def test_feeds_are_converted(net, value):
    assert net.sess.run(net.y, {net.x: value}).tolist() == [2, 6]


def test_feeds_by_other_keys(net):
    _x, y, z, w, sess = net
    assert sess.run(y, {"x:0": V}).tolist() == [2, 6]
    assert sess.run(z + y, {y: [0, 0], "z:0": [5, 6]}).tolist() == [5, 6]
    assert sess.run(w + 1, {w: [7, 8]}).tolist() == [8, 9]
    assert sess.run(y + z, {(y, z): ([1, 1], [2, 2])}).tolist() == [3, 3]
    assert sess.run(y, {y: [4, 4]}).tolist() == [4, 4]
    default = tf.placeholder_with_default(tf.constant([5.0]), [None])
    assert sess.run(default).tolist() == [5] and sess.run(default, {default: [1, 2]}).tolist() == [1, 2]


def test_the_order_of_feeds_does_not_matter(net):
    a, b = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [])
    d = a - b
    assert net.sess.run(d, {a: 3, b: 1}) == 2 and net.sess.run(d, {b: 1, a: 3}) == 2
    assert net.sess.make_callable(d, [b, a])(1, 3) == 2


def test_new_sizes_and_more_operations_do_not_compile_again(net):
    x, y, _z, _w, sess = net
    sess.run(y, {x: V})
    prepared = sess.engine.prepare([y], [], [x])
    for n in (1, 5, 0):
        y + n
        assert sess.run(y, {x: np.ones(n, np.float32)}).tolist() == [2] * n
    assert sess.engine.prepare([y], [], [x]) is prepared and len(sess._plans) == len(set(sess._plans))


def test_make_callable(net):
    x, y, z, w, sess = net
    assert sess.make_callable(y, [x])(V).tolist() == [2, 6]
    assert [v.tolist() for v in sess.make_callable([y, z], [x])(V)] == [[2, 6], [2, 4]]
    assert sess.make_callable(tf.no_op())() is None
    assert sess.make_callable({"a": w}, accept_options=True)(options=None)["a"].tolist() == [1, 2]


ERRORS = [
    (lambda n: n.sess.run(n.y), errors.InvalidArgumentError, "x"),
    (lambda n: n.sess.run(None), TypeError, "None"),
    (lambda n: n.sess.run(3), TypeError, "3"),
    (lambda n: n.sess.run([n.y, None], {n.x: V}), TypeError, "None"),
    (lambda n: n.sess.run("nothing:0"), ValueError, "nothing"),
    (lambda n: n.sess.run(tf.Graph), TypeError, "Graph"),
    (lambda n: n.sess.run(n.y, {n.x: [[1.0]]}), errors.ShapeError, r"\(1, 1\)"),
    (lambda n: n.sess.run(n.y, {n.x: "text"}), TypeError, "<U4"),
    (lambda n: n.sess.run(n.y, {"x": V}), TypeError, "x:0"),
    (lambda n: n.sess.run(n.y, {n.x: V, "x:0": V}), ValueError, "twice"),
    (lambda n: n.sess.run(n.y, [(n.x, V)]), TypeError, "feed_dict is a dict"),
    (lambda n: n.sess.run(n.y, 5), TypeError, "feed_dict is a dict"),
    (lambda n: n.sess.run(n.y, {7: V}), TypeError, "7"),
    (lambda n: n.sess.run(tf.Variable(1.0, name="late")), errors.FailedPreconditionError, "late"),
]


@pytest.mark.parametrize("run, error, words", ERRORS, ids=[w for _, _, w in ERRORS])
def test_errors_say_what_is_wrong(net, run, error, words):
    with pytest.raises(error, match=words):
        run(net)


def test_a_fetch_from_another_graph_is_an_error(net):
    with tf.Graph().as_default():
        other = tf.constant(1.0)
    with pytest.raises(errors.GraphError, match="another"):
        net.sess.run(other)


def test_a_closed_session_cannot_run():
    with tf.Graph().as_default():
        c = tf.constant(1.0)
        sess = tf.Session()
        assert sess.run(c) == 1
        sess.close()
        with pytest.raises(RuntimeError, match="closed"):
            sess.run(c)
        with tf.Session() as sess:
            sess.run(c)
        with pytest.raises(RuntimeError, match="closed"):
            sess.run(c)


def test_default_sessions(net):
    x, y, _z, _w, sess = net
    assert tf.get_default_session() is sess and tf.get_default_graph() is sess.graph
    assert y.eval({x: V}).tolist() == [2, 6] and y.eval(feed_dict={x: V}, session=sess).tolist() == [2, 6]
    assert tf.no_op().run() is None
    with tf.Session() as inner:
        assert tf.get_default_session() is inner
        with sess.as_default():
            assert tf.get_default_session() is sess
    assert sess.run(y, {x: V}).tolist() == [2, 6]


def test_without_a_default_session_eval_is_an_error():
    with tf.Graph().as_default(), pytest.raises(ValueError, match="no default session"):
        tf.constant(1.0).eval()


def test_interactive_sessions():
    with tf.Graph().as_default() as graph:
        c = tf.constant(2.0)
    sess = tf.InteractiveSession(graph=graph)
    assert tf.get_default_graph() is graph and c.eval() == 2
    other = tf.InteractiveSession(graph=graph)
    sess.close()  # in another order than they were made
    assert tf.get_default_session() is other
    other.close()
    assert tf.get_default_session() is None and tf.get_default_graph() is not graph


def test_graphs_left_in_turn_stay_in_force():
    with tf.Graph().as_default() as a:
        with tf.Graph().as_default() as b:
            with a.as_default():
                pass
            assert tf.get_default_graph() is b
        assert tf.get_default_graph() is a


def test_sessions_have_their_own_values():
    with tf.Graph().as_default():
        w = tf.Variable(1.0)
        add = w.assign_add(1.0)
        init = tf.global_variables_initializer()
        one, two = tf.Session(), tf.Session()
        one.run(init)
        two.run(init)
        one.run(add)
        assert (one.run(w), two.run(w)) == (2, 1)


def test_threads_share_a_session(net):
    got = []

    def work(k):
        got.extend(int(net.sess.run(net.y, {net.x: [k]})[0]) == 2 * k for _ in range(50))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == [True] * 200


def test_options():
    config = tf.ConfigProto(allow_soft_placement=True,
                            gpu_options=tf.GPUOptions(per_process_gpu_memory_fraction=0.3))
    config.gpu_options.allow_growth = True
    config.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    with pytest.raises(AttributeError):
        config.gpu_options.alow_growth = True
    with tf.Graph().as_default(), tf.Session("", config=config) as sess:
        c = tf.constant(1.0)
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        assert sess.run(c, None, options, tf.RunMetadata()) == 1
        assert sess.run(c, options=options, run_metadata=tf.RunMetadata()) == 1
