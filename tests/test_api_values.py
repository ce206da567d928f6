"""Values of what is more than an op record in the front door, against numpy, in one program."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special

import graphflow as tf
from graphflow import errors

R = np.random.default_rng(3)
A, B = R.normal(size=(3, 4)).astype("f"), R.normal(size=(3, 4)).astype("f")
C = R.normal(size=(4, 2, 3)).astype("f")
Z = (A > 0).astype("f")
IDS = np.array([2, 0, 2], np.int32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_softmax(x, axis=-1):
    return x - scipy.special.logsumexp(x, axis, keepdims=True)


def cross_entropy(labels, logits):
    return np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-abs(logits)))


# name, tensor, expected value
CASES = [
    ("tensordot 1", lambda: tf.tensordot(A, C, 1), lambda: np.tensordot(A, C, 1)),
    ("tensordot 2", lambda: tf.tensordot(A, C, [[0, 1], [2, 0]]),
     lambda: np.tensordot(A, C, [[0, 1], [2, 0]])),
    ("tensordot open", lambda: tf.tensordot(tf.placeholder_with_default(A, [None, 4]), C, axes=[[1], [0]]),
     lambda: np.tensordot(A, C, [[1], [0]])),
    ("matmul adjoint", lambda: tf.matmul(A, B, adjoint_b=True), lambda: A @ B.T),
    ("matrix_transpose", lambda: tf.matrix_transpose(C), lambda: C.swapaxes(1, 2)),
    ("reduce range", lambda: tf.reduce_sum(C, axis=range(1, 3)), lambda: C.sum((1, 2))),
    ("reduce array", lambda: tf.reduce_max(C, np.array([0, 2]), keep_dims=True),
     lambda: C.max((0, 2), keepdims=True)),
    ("reduce_variance", lambda: tf.math.reduce_variance(A, 0), lambda: A.var(0)),
    ("reduce_std", lambda: tf.math.reduce_std(A, axis=1, keepdims=True), lambda: A.std(1, keepdims=True)),
    ("reduce_logsumexp", lambda: tf.reduce_logsumexp(A, 1), lambda: scipy.special.logsumexp(A, 1)),
    ("count_nonzero", lambda: tf.count_nonzero(np.maximum(A, 0), 0), lambda: (A > 0).sum(0)),
    ("xlogy", lambda: tf.math.xlogy(Z, np.maximum(A, 0)), lambda: scipy.special.xlogy(Z, np.maximum(A, 0))),
    ("log_sigmoid", lambda: tf.log_sigmoid(A), lambda: np.log(sigmoid(A))),
    ("scalar_mul", lambda: tf.scalar_mul(2.0, A), lambda: 2 * A),
    ("saturate_cast", lambda: tf.saturate_cast(np.array([-5, 300, 7], "f"), tf.uint8), lambda: [0, 255, 7]),
    ("cast same", lambda: tf.cast(A, tf.float32), lambda: A),
    ("to_int32", lambda: tf.to_int32(np.array([1.7, -1.7], "f")), lambda: [1, -1]),
    ("accumulate_n", lambda: tf.accumulate_n([A, B, A]), lambda: 2 * A + B),
    ("where rows", lambda: tf.where([True, False, True], A, B), lambda: np.stack([A[0], B[1], A[2]])),
    ("one_hot", lambda: tf.one_hot(IDS, 3), lambda: np.eye(3)[IDS]),
    ("one_hot ints", lambda: tf.one_hot(IDS, 3, on_value=5, off_value=-1, axis=0),
     lambda: np.eye(3)[IDS].T * 6 - 1),
    ("one_hot tensor", lambda: tf.one_hot(IDS, 3, tf.constant(2.0), 0.0), lambda: 2 * np.eye(3)[IDS]),
    ("eye", lambda: tf.eye(2, 3), lambda: np.eye(2, 3)),
    ("diag", lambda: tf.diag([1.0, 2.0]), lambda: np.diag([1, 2])),
    ("range floats", lambda: tf.range(0.0, 1.0, 0.25), lambda: [0, 0.25, 0.5, 0.75]),
    ("linspace", lambda: tf.linspace(0.0, 1.0, 3), lambda: [0, 0.5, 1]),
    ("sequence_mask", lambda: tf.sequence_mask([1, 3], 3, dtype=tf.float32), lambda: [[1, 0, 0], [1, 1, 1]]),
    ("meshgrid", lambda: tf.stack(tf.meshgrid([1.0, 2.0], [3.0, 4.0, 5.0])),
     lambda: np.stack(np.meshgrid([1, 2], [3, 4, 5]))),
    ("meshgrid ij", lambda: tf.stack(tf.meshgrid([1.0, 2.0], [3.0, 4.0, 5.0], indexing="ij")),
     lambda: np.stack(np.meshgrid([1, 2], [3, 4, 5], indexing="ij"))),
    ("boolean_mask", lambda: tf.boolean_mask(A, [True, False, True]), lambda: A[[0, 2]]),
    ("boolean_mask 2", lambda: tf.boolean_mask(A, A > 0), lambda: A[A > 0]),
    ("gather", lambda: tf.gather(A, IDS, axis=1), lambda: A[:, IDS]),
    ("embedding_lookup", lambda: tf.nn.embedding_lookup(A, IDS), lambda: A[IDS]),
    ("embedding max_norm", lambda: tf.nn.embedding_lookup(A, IDS, max_norm=1.0),
     lambda: A[IDS] / np.maximum(np.linalg.norm(A[IDS], axis=1, keepdims=True), 1)),
    ("segment sum", lambda: tf.unsorted_segment_sum(A, IDS, 4),
     lambda: [A[1], 0 * A[0], A[0] + A[2], 0 * A[0]]),
    ("split sizes", lambda: tf.split(A, [1, 3], 1)[1], lambda: A[:, 1:]),
    ("unstack", lambda: tf.unstack(A, axis=1)[2], lambda: A[:, 2]),
    ("slice", lambda: tf.slice(A, [1, 0], [-1, 2]), lambda: A[1:, :2]),
    ("strided_slice", lambda: tf.strided_slice(A, [0, 3], [3, 0], [2, -1]), lambda: A[0:3:2, 3:0:-1]),
    ("reverse", lambda: tf.reverse(A, [1]), lambda: A[:, ::-1]),
    ("pad", lambda: tf.pad(A, [[1, 0], [0, 2]], constant_values=3.0),
     lambda: np.pad(A, [(1, 0), (0, 2)], constant_values=3)),
    ("crelu", lambda: tf.nn.crelu(A), lambda: np.maximum(np.concatenate([A, -A], 1), 0)),
    ("leaky_relu", lambda: tf.nn.leaky_relu(A, 0.1), lambda: np.where(A > 0, A, 0.1 * A)),
    ("swish", lambda: tf.nn.swish(tf.constant(A)), lambda: A * sigmoid(A)),
    ("log_softmax", lambda: tf.nn.log_softmax(A, 0), lambda: log_softmax(A, 0)),
    ("softmax ce", lambda: tf.nn.softmax_cross_entropy_with_logits(labels=Z, logits=A),
     lambda: -(Z * log_softmax(A)).sum(-1)),
    ("softmax ce axis", lambda: tf.nn.softmax_cross_entropy_with_logits_v2(labels=Z, logits=A, axis=0),
     lambda: -(Z * log_softmax(A, 0)).sum(0)),
    ("sparse ce", lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=IDS, logits=A),
     lambda: -log_softmax(A)[np.arange(3), IDS]),
    ("sigmoid ce", lambda: tf.nn.sigmoid_cross_entropy_with_logits(labels=Z, logits=A),
     lambda: cross_entropy(Z, A)),
    ("weighted ce", lambda: tf.nn.weighted_cross_entropy_with_logits(targets=Z, logits=A, pos_weight=3.0),
     lambda: -3 * Z * np.log(sigmoid(A)) - (1 - Z) * np.log(sigmoid(-A))),
    ("l2_loss", lambda: tf.nn.l2_loss(A), lambda: (A * A).sum() / 2),
    ("zero_fraction", lambda: tf.nn.zero_fraction(Z), lambda: (Z == 0).mean()),
    ("bias_add", lambda: tf.nn.bias_add(C, [1.0, 2.0], "NCHW"), lambda: C + np.array([[1.0], [2.0]])),
    ("xw_plus_b", lambda: tf.nn.xw_plus_b(A, B.T, [1.0, 2.0, 3.0]), lambda: A @ B.T + [1, 2, 3]),
    ("relu_layer", lambda: tf.nn.relu_layer(A, B.T, [1.0, 2.0, 3.0]),
     lambda: np.maximum(A @ B.T + [1, 2, 3], 0)),
    ("moments", lambda: tf.stack(tf.nn.moments(A, [0])), lambda: np.stack([A.mean(0), A.var(0)])),
    ("moments kept", lambda: tf.nn.moments(C, axes=[0, 2], keep_dims=True)[1],
     lambda: C.var((0, 2), keepdims=True)),
    ("batch norm", lambda: tf.nn.batch_normalization(A, A.mean(0), A.var(0), B[0], B[1], 1e-3),
     lambda: (A - A.mean(0)) / np.sqrt(A.var(0) + 1e-3) * B[1] + B[0]),
    ("batch norm plain", lambda: tf.nn.batch_normalization(A, A.mean(0), A.var(0), None, None, 1e-3),
     lambda: (A - A.mean(0)) / np.sqrt(A.var(0) + 1e-3)),
    ("l2_normalize", lambda: tf.nn.l2_normalize(A, dim=1),
     lambda: A / np.linalg.norm(A, axis=1, keepdims=True)),
    ("in_top_k", lambda: tf.nn.in_top_k(A, IDS, 2),
     lambda: [(A[k] > A[k, i]).sum() < 2 for k, i in enumerate(IDS)]),
    ("dropout all kept", lambda: tf.nn.dropout(A, 1.0), lambda: A),
    ("tuple", lambda: tf.tuple([tf.constant(A), tf.constant(B)])[1], lambda: B),
    ("ndarray on the left", lambda: A - tf.constant(B), lambda: A - B),
    ("augmented", lambda: _augmented(), lambda: (A + B) * 2 / 4),
]


def _augmented():
    x = tf.constant(A)
    x += B
    x *= 2
    x /= 4
    return x


@pytest.fixture(scope="module")
def values():
    with tf.Graph().as_default(), tf.Session() as sess:
        return sess.run({name: make() for name, make, _ in CASES})


@pytest.mark.parametrize("name, expected", [(n, e) for n, _, e in CASES], ids=[n for n, _, _ in CASES])
def test_value(values, name, expected):
    want = np.asarray(expected())
    assert values[name].shape == want.shape
    np.testing.assert_allclose(values[name], want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("make", [
    lambda: tf.gather(A, IDS, batch_dims=1),
    lambda: tf.boolean_mask(A, tf.constant(A) > 0), lambda: tf.sequence_mask([1, 2]),
    lambda: tf.where([True, False]), lambda: tf.eye(2, batch_shape=[3])])
def test_what_is_not_supported_says_so(make):
    with tf.Graph().as_default(), pytest.raises(NotImplementedError):
        make()


def test_labels_are_constants_in_the_old_cross_entropy():
    with tf.Graph().as_default():
        z, x = tf.constant(Z), tf.constant(A)
        old = tf.nn.softmax_cross_entropy_with_logits(labels=z, logits=x)
        new = tf.nn.softmax_cross_entropy_with_logits_v2(labels=z, logits=x)
        assert tf.gradients(old, z) == [None] and tf.gradients(new, z)[0] is not None


# Random numbers

def test_random_tensors_have_their_moments_and_limits():
    n = [200, 500]
    made = {
        "uniform": (lambda: tf.random_uniform(n, -1.0, 3.0), 1, 4 / 12**0.5),
        "uniform tensors": (lambda: tf.random_uniform(n, tf.constant(-1.0), [3.0]), 1, 4 / 12**0.5),
        "ints": (lambda: tf.random_uniform(n, 0, 10, dtype=tf.int32), 4.5, (99 / 12) ** 0.5),
        "normal": (lambda: tf.random_normal(n, 2.0, 0.5), 2, 0.5),
        "normal tensors": (lambda: tf.random_normal(n, tf.constant(2.0), 0.5, tf.float32), 2, 0.5),
        "truncated": (lambda: tf.truncated_normal(n, stddev=2.0), 0, 2 * 0.8796),
        "dropout": (lambda: tf.nn.dropout(tf.ones(n), 0.8), 1, 0.5),
        "dropout rate": (lambda: tf.nn.dropout(tf.ones(n), rate=tf.constant(0.2)), 1, 0.5),
        "multinomial": (lambda: tf.multinomial(tf.log([[0.2, 0.3, 0.5]]), 100_000), 1.3, 0.61**0.5),
    }
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.set_random_seed(1)
        got = sess.run({k: make() for k, (make, _, _) in made.items()})
    for name, (_, mean, deviation) in made.items():
        assert got[name].mean() == pytest.approx(mean, abs=0.02 * deviation), name
        assert got[name].std() == pytest.approx(deviation, rel=0.01), name
    assert set(np.unique(got["dropout"])) == {0, np.float32(1.25)} and got["truncated"].max() <= 4
    assert got["multinomial"].shape == (1, 100_000) and set(np.unique(got["ints"])) == set(range(10))


def test_dropout_of_whole_slices():
    with tf.Graph().as_default(), tf.Session() as sess:
        got = sess.run(tf.nn.dropout(tf.ones([64, 8]), 0.5, noise_shape=[64, 1]))
    assert set(got.sum(1)) == {0, 16}


def draws(graph_seed, op_seed, runs=2):
    with tf.Graph().as_default():
        tf.set_random_seed(graph_seed)
        x = tf.random_normal([3], seed=op_seed)
        with tf.Session() as sess:
            return [sess.run(x).tolist() for _ in range(runs)]


def test_seeds_make_sessions_repeatable():
    first, second = draws(1, None)
    assert first != second and draws(1, None) == [first, second]
    assert draws(None, 7) == draws(None, 7) != draws(None, 8)
    assert draws(None, None) != draws(None, None) and draws(2, None) != [first, second]


def test_two_random_tensors_differ():
    with tf.Graph().as_default(), tf.Session() as sess:
        a, b = sess.run([tf.random_normal([4]), tf.random_normal([4])])
    assert a.tolist() != b.tolist()


# Strings, flags and logs

def test_compat_strings():
    assert tf.compat.as_str(b"a") == tf.compat.as_text("a") == "a" and tf.compat.as_bytes("a") == b"a"
    assert tf.compat.as_str_any(3) == "3"
    with pytest.raises(TypeError):
        tf.compat.as_bytes(3)


def test_flags_are_parsed_from_the_command_line(capsys):
    from graphflow.flags import _Flags

    saved, tf.flags.FLAGS = tf.flags.FLAGS, _Flags()
    try:
        flags = tf.app.flags
        flags.DEFINE_string("name", "x", "100% help")
        flags.DEFINE_integer("count", 3, "")
        flags.DEFINE_float("rate", 0.1, "")
        flags.DEFINE_bool("fast", True, "")
        flags.DEFINE_boolean("deep", False, "")
        flags.DEFINE_list("parts", "a,b", "")
        flags.DEFINE_enum("kind", "one", ["one", "two"], "")
        got = []
        with pytest.raises(SystemExit) as end:
            tf.app.run(got.append, ["prog", "--count=5", "--nofast", "--deep", "--kind", "two", "rest"])
        values = tf.flags.FLAGS
        assert end.value.code is None and got == [["prog", "rest"]]
        assert (values.name, values.count, values.rate) == ("x", 5, 0.1)
        assert (values.fast, values.deep) == (False, True)
        assert (values.parts, values.kind) == (["a", "b"], "two")
        values.count = 9
        assert values.count == 9 and "count" in values and values.flag_values_dict()["kind"] == "two"
        with pytest.raises(AttributeError, match="other"):
            _ = values.other
    finally:
        tf.flags.FLAGS = saved


def test_logging(caplog):
    tf.logging.set_verbosity(tf.logging.INFO)
    tf.logging.info("step %d", 3)
    assert tf.logging.get_verbosity() == tf.logging.INFO
    assert any(r.message == "step 3" for r in caplog.records)


def test_errors_have_tf1_codes():
    error = errors.OutOfRangeError(None, None, "end")
    assert (error.error_code, error.message, str(error)) == (errors.OUT_OF_RANGE, "end", "end")
    assert issubclass(tf.errors.InvalidArgumentError, tf.errors.OpError) and math.isclose(errors.ABORTED, 10)
