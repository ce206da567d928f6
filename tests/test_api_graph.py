"""The front door while a graph is built: names, scopes, argument orders, collections, seeds, errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphflow as tf
from graphflow import errors, extend
from graphflow.compiler.ir.source import user_line

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g


def f(*shape, name=None):
    return tf.placeholder(tf.float32, shape, name)


def test_compat_v1_is_the_package_itself():
    import graphflow.compat.v1 as v1
    from graphflow.compat.v1 import placeholder

    assert v1 is tf and placeholder is tf.placeholder and tf.compat.v1 is tf


def test_every_public_name_exists():
    assert [n for n in tf.__all__ if not hasattr(tf, n)] == []
    for module in (tf.nn, tf.train, tf.errors, tf.random):
        assert [n for n in module.__all__ if not hasattr(module, n)] == []


def test_what_few_programs_use_is_loaded_when_it_is_asked_for():
    script = """
import gc, sys
import graphflow as tf
def loaded(): return sorted(m.split(".")[-1] for m in sys.modules
                            if m in ("graphflow.compiler.ops.sorting", "graphflow.bitwise"))
assert loaded() == [] and gc.isenabled() and {"bitwise", "sort"} <= set(dir(tf))
x = tf.placeholder(tf.int32, [3])
y = tf.bitwise.invert(tf.sort(x))
assert loaded() == ["bitwise", "sorting"]
assert tf.Session().run(y, {x: [3, 1, 2]}).tolist() == [-2, -3, -4]
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_of_ops_that_are_not_loaded_are_taken_too():
    script = """
from graphflow import extend
extend.OpDef("argsort", "x", infer=extend.elementwise())
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert "an op named 'argsort' exists already, made in graphflow" in done.stderr


def test_an_op_of_ones_own_knows_its_file():
    own = extend.OpDef("op_with_a_home", "x", infer=extend.elementwise())
    assert own.home == __file__ and (f(2) + f(2)).op.opdef.home == ""


def test_all_that_gradients_and_optimizers_make_stems_from_their_call(graph):
    w = tf.get_variable("w", [3])
    loss = tf.reduce_sum(tf.tanh(w) ** 2)
    before = len(graph.operations)
    (tf.gradients(loss, w), line := user_line())
    middle = len(graph.operations)
    (tf.train.AdamOptimizer().minimize(loss), other := user_line())
    assert {op.source for op in graph.operations[before:middle]} == {line}
    assert {op.source for op in graph.operations[middle:]} == {other} and graph.origin is None


def weights():
    return tf.Variable(tf.zeros([2, 3]), name="W")


DEFAULT_NAMES = [
    (lambda: tf.placeholder(tf.float32), "Placeholder:0"),
    (lambda: tf.constant(1), "Const:0"),
    (lambda: f(2) + f(2), "add:0"),
    (lambda: f(2) - 1, "sub:0"),
    (lambda: 2 * f(2), "mul:0"),
    (lambda: f(2) / 2, "truediv:0"),
    (lambda: f(2) ** 2, "pow:0"),
    (lambda: -f(2), "Neg:0"),
    (lambda: tf.add(f(2), f(2)), "Add:0"),
    (lambda: tf.multiply(f(2), f(2)), "Mul:0"),
    (lambda: tf.subtract(f(2), f(2)), "Sub:0"),
    (lambda: tf.matmul(f(2, 3), f(3, 4)), "MatMul:0"),
    (lambda: tf.reduce_mean(f(2)), "Mean:0"),
    (lambda: tf.reduce_sum(f(2)), "Sum:0"),
    (lambda: tf.reduce_max(f(2)), "Max:0"),
    (lambda: tf.argmax(f(2, 3), 1), "ArgMax:0"),
    (lambda: tf.equal(f(2), f(2)), "Equal:0"),
    (lambda: tf.cast(f(2), tf.int32), "Cast:0"),
    (lambda: tf.reshape(f(4), [2, 2]), "Reshape:0"),
    (lambda: tf.transpose(f(4, 2)), "transpose:0"),
    (lambda: tf.concat([f(2), f(2)], 0), "concat:0"),
    (lambda: tf.stack([f(2), f(2)]), "stack:0"),
    (lambda: tf.split(f(4), 2)[1], "split:1"),
    (lambda: tf.expand_dims(f(4), 0), "ExpandDims:0"),
    (lambda: tf.squeeze(f(1, 4)), "Squeeze:0"),
    (lambda: tf.nn.relu(f(2)), "Relu:0"),
    (lambda: tf.nn.softmax(f(2)), "Softmax:0"),
    (lambda: tf.sigmoid(f(2)), "Sigmoid:0"),
    (lambda: tf.nn.bias_add(f(3, 2), f(2)), "BiasAdd:0"),
    (lambda: tf.identity(f(2)), "Identity:0"),
    (lambda: tf.zeros([2]), "zeros:0"),
    (lambda: tf.ones([2]), "ones:0"),
    (lambda: tf.no_op(), "NoOp"),
    (lambda: tf.group(f(2)), "group_deps"),
    (lambda: tf.Variable(1.0), "Variable:0"),
    (weights, "W:0"),
    (lambda: weights().initializer, "W/Assign"),
    (lambda: weights().value(), "W/read:0"),
    (lambda: tf.Variable(1.0, name="b").initial_value, "b/initial_value:0"),
    (lambda: tf.gradients(tf.square(weights()), tf.trainable_variables())[0].name.split("/")[0], "gradients"),
]


@pytest.mark.parametrize("make, name", DEFAULT_NAMES, ids=[n for _, n in DEFAULT_NAMES])
def test_default_names_are_those_of_tf1(make, name):
    made = make()
    assert (made if isinstance(made, str) else made.name) == name


def test_a_run_of_the_initializers_is_named_init():
    tf.Variable(1.0)
    assert tf.global_variables_initializer().name == "init"
    assert tf.initialize_all_variables().name == "init_1"


# Both spellings give the same shape, and the same operation type where one stands for the other.
SAME_CALLS = [
    (lambda: tf.reduce_sum(f(2, 3), 1, True),
     lambda: tf.reduce_sum(f(2, 3), reduction_indices=[1], keep_dims=True)),
    (lambda: tf.reduce_mean(f(2, 3), axis=[0, 1]), lambda: tf.reduce_mean(input_tensor=f(2, 3))),
    (lambda: tf.argmax(f(2, 3), 1), lambda: tf.argmax(f(2, 3), dimension=1)),
    (lambda: tf.argmax(f(2, 3)), lambda: tf.arg_max(f(2, 3), 0)),
    (lambda: tf.squeeze(f(2, 1), [1]), lambda: tf.squeeze(f(2, 1), squeeze_dims=[1])),
    (lambda: tf.expand_dims(f(2), -1), lambda: tf.expand_dims(f(2), dim=-1)),
    (lambda: tf.concat([f(2, 3), f(2, 1)], 1), lambda: tf.concat(1, [f(2, 3), f(2, 1)])),
    (lambda: tf.concat(axis=1, values=[f(2, 3), f(2, 1)]),
     lambda: tf.concat(concat_dim=1, values=[f(2, 3), f(2, 1)])),
    (lambda: tf.split(f(2, 4), 2, 1)[0], lambda: tf.split(1, 2, f(2, 4))[0]),
    (lambda: tf.split(value=f(2, 4), num_or_size_splits=2, axis=1)[0],
     lambda: tf.split(split_dim=1, num_split=2, value=f(2, 4))[0]),
    (lambda: tf.stack([f(2), f(2)], axis=1), lambda: tf.pack([f(2), f(2)], 1)),
    (lambda: tf.unstack(f(2, 3), axis=1)[2], lambda: tf.unpack(f(2, 3), None, 1)[2]),
    (lambda: tf.multiply(f(2), 2.0), lambda: tf.mul(f(2), 2.0)),
    (lambda: tf.subtract(f(2), 2.0), lambda: tf.sub(f(2), 2.0)),
    (lambda: tf.negative(f(2)), lambda: tf.neg(f(2))),
    (lambda: tf.matmul(f(2, 3), f(4, 3), transpose_b=True),
     lambda: tf.batch_matmul(f(2, 3), f(4, 3), adj_y=True)),
    (lambda: tf.nn.softmax(f(2, 3), -1), lambda: tf.nn.softmax(f(2, 3), dim=1)),
    (lambda: tf.nn.sigmoid_cross_entropy_with_logits(labels=f(2, 3), logits=f(2, 3)),
     lambda: tf.nn.sigmoid_cross_entropy_with_logits(logits=f(2, 3), targets=f(2, 3))),
    (lambda: tf.cast(f(2), tf.int32), lambda: tf.to_int32(f(2))),
    (lambda: tf.range(5), lambda: tf.range(0, 5, 1)),
    (lambda: tf.random_normal([2, 3], 0.0, 1.0), lambda: tf.random_normal(shape=(2, 3), stddev=1.0)),
    (lambda: tf.random_uniform([2, 3], -1.0, 1.0),
     lambda: tf.random.uniform([2, 3], minval=-1.0, maxval=1.0)),
    (lambda: tf.clip_by_value(f(2), 0.0, 1.0),
     lambda: tf.clip_by_value(t=f(2), clip_value_min=0.0, clip_value_max=1.0)),
    (lambda: tf.one_hot(tf.constant([1, 2]), 3),
     lambda: tf.one_hot(indices=[1, 2], depth=3, on_value=1.0, off_value=0.0)),
    (lambda: tf.fill([2, 3], 1.0), lambda: tf.ones(shape=(2, 3), dtype="float32")),
    (lambda: tf.reverse(f(2, 3), [1]), lambda: tf.reverse(f(2, 3), [False, True])),
    (lambda: tf.truediv(f(2), f(2)), lambda: f(2) / f(2)),
    (lambda: tf.pad(f(2, 3), [[0, 1], [0, 0]]),
     lambda: tf.pad(f(2, 3), paddings=[[0, 1], [0, 0]], mode="constant")),
]


@pytest.mark.parametrize("new, old", SAME_CALLS)
def test_old_and_new_spellings_give_the_same(new, old):
    a, b = new(), old()
    assert (a.shape, a.dtype) == (b.shape, b.dtype)


def test_two_spellings_of_one_argument_are_an_error():
    with pytest.raises(ValueError, match="axis and reduction_indices"):
        tf.reduce_sum(f(2), 0, reduction_indices=0)


@pytest.mark.parametrize("value, dtype, expected", [
    (1, None, tf.int32), (1.5, None, tf.float32), (True, None, tf.bool), (2**40, None, tf.int64),
    (np.float64(1), None, tf.float64), ([1, 2], "float32", tf.float32), (np.arange(3), None, tf.int64),
    ([[1, 2.5]], None, tf.float32), ([1], tf.int64, tf.int64)])
def test_dtypes_of_constants(value, dtype, expected):
    assert tf.constant(value, dtype=dtype).dtype is expected


@pytest.mark.parametrize("value, shape, expected", [
    (7, [2, 2], [[7, 7], [7, 7]]), ([1, 2, 3, 4], [2, 2], [[1, 2], [3, 4]]),
    ([1, 2], [2, 2], [[1, 2], [2, 2]]),
    (3, [], 3), ([1], (2,), [1, 1])])
def test_shape_of_a_constant_fills(value, shape, expected):
    assert tf.constant(value, shape=shape).op.attrs["value"].array.tolist() == expected


@pytest.mark.parametrize("make, error, words", [
    (lambda: tf.constant([1, 2, 3], shape=[2]), errors.ShapeError, "3 values"),
    (lambda: tf.constant([1, 2], shape=[2, 1], verify_shape=True), errors.ShapeError, "do not make"),
    (lambda: tf.constant(1.5, dtype=tf.int32), TypeError, "int32"),
    (lambda: tf.placeholder("no dtype"), TypeError, "no dtype"),
    (lambda: tf.placeholder(tf.float32, [-1]), ValueError, "0 or more"),
    (lambda: tf.convert_to_tensor(f(2), tf.int32), TypeError, "int32"),
    (lambda: tf.get_default_graph().get_tensor_by_name("x:0"), ValueError, "no operation named 'x'"),
    (lambda: tf.nn.softmax_cross_entropy_with_logits(labels=f(2)), ValueError, "logits="),
    (lambda: tf.nn.softmax_cross_entropy_with_logits(f(2), f(2)), ValueError, "by name"),
    (lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(f(2, 3), [0, 1]), ValueError, "by name"),
    (lambda: tf.nn.sigmoid_cross_entropy_with_logits(f(2), labels=f(2), logits=f(2)), ValueError, "by name"),
    (lambda: tf.constant(1.0, name="a b"), ValueError, "'a b' is not a valid node name"),
    (lambda: tf.constant(1.0, name="_a"), ValueError, "valid node name"),
    (lambda: tf.placeholder(tf.float32, name="x:0"), ValueError, "valid node name"),
    (lambda: tf.name_scope("my scope").__enter__(), ValueError, "valid scope name"),
    (lambda: tf.Variable(1.0, name="$w"), ValueError, "not a valid"),
    (lambda: tf.constant(300, tf.uint8), TypeError, "300 is not in the range of uint8, 0 to 255"),
    (lambda: tf.constant([0, -1], tf.uint32), TypeError, "-1 is not in the range"),
    (lambda: tf.constant(2**31, tf.int32), TypeError, "not in the range of int32"),
    (lambda: tf.boolean_mask(np.ones((3, 2)), [True, False]), ValueError, r"\[2\] is not that"),
    (lambda: tf.boolean_mask(np.ones((3, 2)), [True, False, True], axis=1), ValueError, r"axes of .* from 1"),
    (lambda: tf.boolean_mask(np.ones(3), True), ValueError, "have an axis"),
    (lambda: tf.nn.dropout(f(2)), ValueError, "keep_prob"),
    (lambda: tf.nn.dropout(f(2), 1.5), ValueError, "1.5"),
    (lambda: tf.add_n([]), ValueError, "at least one"),
    (lambda: bool(f(2) > 1), TypeError, "truth value"),
    (lambda: tf.random_uniform([2], dtype=tf.int32), ValueError, "maxval"),
    (lambda: tf.expand_dims(f(2)), TypeError, "axis"),
])
def test_errors_name_what_is_wrong(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_convert_to_tensor_takes_lists_with_tensors():
    x = f(None, 3)
    t = tf.convert_to_tensor([tf.shape(x)[0], 10])
    assert t.shape == [2] and t.dtype is tf.int32
    assert tf.reshape(x, [tf.shape(x)[0], 3, 1]).shape.as_list() == [None, 3, 1]


def test_name_scopes_nest_and_count():
    with tf.name_scope("a") as outer:
        assert outer == "a/"
        with tf.name_scope("b"):
            assert f(1).name == "a/b/Placeholder:0"
        with tf.name_scope("b"):
            assert f(1).name == "a/b_1/Placeholder:0"
    with tf.name_scope(outer):
        assert f(1, name="x").name == "a/x:0"
    with tf.name_scope(None, "d", [f(1)]) as default, tf.name_scope(None):
        assert default == "d/" and f(1, name="root").name == "root:0"
    with pytest.raises(ValueError):
        tf.name_scope(None, values=[])


def test_control_dependencies_reach_new_operations_only(graph):
    a = tf.no_op("a")
    with tf.control_dependencies([a]):
        x = f(1)
        with tf.control_dependencies(None):
            y = f(1)
    assert x.op.control_inputs == (a,) and y.op.control_inputs == ()
    assert set(tf.group(x, [a], name="both").control_inputs) == {x.op, a}
    assert tf.tuple([x, None])[1] is None


def test_devices_are_wishes():
    with tf.device("/gpu:0"):
        assert f(1).op.device == "/gpu:0"
    with tf.device(lambda op: "/cpu:0"):
        f(1)


def test_collections(graph):
    tf.add_to_collection("mine", 1)
    tf.add_to_collections(["mine", "yours"], 2)
    assert tf.get_collection("mine") == [1, 2] and tf.get_collection("yours") == [2]
    tf.get_collection_ref("mine").append(3)
    assert graph.get_collection("mine") == [1, 2, 3] and tf.get_collection("none") == []
    tf.Variable(1.0, name="g/w")
    tf.Variable(1.0, name="d/w")
    assert [v.name for v in tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope="d")] == ["d/w:0"]
    assert sorted(graph.get_all_collection_keys()) == ["mine", "trainable_variables", "variables", "yours"]


def test_seeds_follow_tf1(graph):
    assert tf.get_seed(None) == (None, None)
    assert tf.get_seed(3) == (87654321, 3)
    tf.set_random_seed(5)
    f(1)
    assert tf.get_seed(None) == (5, 1) and tf.get_seed(3) == (5, 3)


def test_get_shape_habits():
    x = f(None, 28, 3)
    assert x.get_shape().as_list() == [None, 28, 3] and x.shape.ndims == 3
    assert int(x.get_shape()[1]) == 28 and x.shape[0].value is None
    assert tf.placeholder("float").shape.ndims is None
    assert tf.placeholder(tf.int32, []).shape == []


def test_gradients_accept_lists_variables_and_single_objects():
    w = tf.Variable([1.0, 2.0])
    y = tf.square(w)
    assert len(tf.gradients(y, w)) == 1 and len(tf.gradients(ys=[y, w], xs=[w, f(1)])) == 2
    assert tf.gradients(y, f(1)) == [None]
    assert tf.gradients(y, w, grad_ys=tf.constant([1.0, 0.0]))[0].shape == [2]
    with pytest.raises(ValueError, match="1 ys, but 2 grad_ys"):
        tf.gradients(y, w, [y, y])
    with pytest.raises(TypeError, match="int32"):
        tf.gradients(tf.constant(1), w)


def test_stopped_tensors_have_partial_derivatives():
    a = f(2)
    b = 2 * a
    ga, gb = tf.gradients(a + b, [a, b], stop_gradients=[a, b])
    with tf.Session() as sess:
        assert [g.tolist() for g in sess.run([ga, gb], {a: [1, 2]})] == [[1, 1], [1, 1]]
    assert tf.gradients(tf.square(b), a, stop_gradients=b) == [None]


def test_reset_default_graph_inside_a_graph_is_an_error():
    with pytest.raises(errors.GraphError):
        tf.reset_default_graph()


def test_numpy_on_the_left_gives_a_tensor():
    assert isinstance(np.ones(2, np.float32) * f(2), tf.Tensor)
    assert isinstance(np.float32(2) + f(2), tf.Tensor)
