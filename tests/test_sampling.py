"""Promises of candidate samplers, of the losses on them, and of embeddings in parts."""

from __future__ import annotations

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401
from scipy import special

import graphflow as tf

RANGE = 12
UNIGRAMS = np.arange(1, RANGE + 1, dtype=np.float64)
SHARES = {"log_uniform": np.log((np.arange(RANGE) + 2) / (np.arange(RANGE) + 1)) / np.log(RANGE + 1),
          "uniform": np.full(RANGE, 1 / RANGE),
          "fixed_unigram": UNIGRAMS ** 0.75 / (UNIGRAMS ** 0.75).sum()}


def sampler(name, true, num_sampled, unique, seed=None, num_true=1):
    make = getattr(tf.nn, f"{name}_candidate_sampler")
    more = {"unigrams": UNIGRAMS.tolist(), "distortion": 0.75} if name == "fixed_unigram" else {}
    return make(true, num_true, num_sampled, unique, RANGE, seed=seed, **more)


@pytest.mark.parametrize("name", SHARES)
def test_draws_have_the_shares_of_their_distribution(name):
    drawn, true_count, counts = sampler(name, [[0], [5]], 20000, False)
    drawn, true_count, counts = session().run([drawn, true_count, counts])
    found = np.bincount(drawn, minlength=RANGE) / len(drawn)
    np.testing.assert_allclose(found, SHARES[name], atol=5 * np.sqrt(SHARES[name].max() / len(drawn)))
    assert drawn.dtype == np.int64 and true_count.shape == (2, 1)
    np.testing.assert_allclose(true_count[:, 0], SHARES[name][[0, 5]] * 20000, rtol=1e-4)
    np.testing.assert_allclose(counts, SHARES[name][drawn] * 20000, rtol=1e-4)


@pytest.mark.parametrize("mode", ["", "GRAPHFLOW_CHECK", "GRAPHFLOW_JIT"])
@pytest.mark.parametrize("name", SHARES)
def test_unique_draws_are_those_of_rejection(name, mode, monkeypatch):
    """Which classes come, and in which order: k different ones in the order of their first draw."""
    if mode:
        monkeypatch.setenv(mode, "1" if mode == "GRAPHFLOW_CHECK" else "0")
    runs = 30 if mode else 4000
    sampled, _, counts = sampler(name, [[0]], 4, True)
    sess = session()
    run = [sess.run([sampled, counts]) for _ in range(runs)]
    drawn = np.array([r[0] for r in run])
    assert all(len(set(row)) == 4 for row in drawn) and drawn.min() >= 0 and drawn.max() < RANGE
    if mode:
        return
    p = SHARES[name]
    pairs = p[:, None] * p[None, :] / (1 - p[:, None]) * (1 - np.eye(RANGE))  # P(first = i, second = j)
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=RANGE) / runs, p, atol=0.04)
    np.testing.assert_allclose(np.bincount(drawn[:, 1], minlength=RANGE) / runs, pairs.sum(0), atol=0.04)
    for classes, expected in run[:50]:  # 1 - (1 - p)^tries for one and the same number of tries
        if not np.allclose(expected, 4 * p[classes], rtol=1e-5):  # as TF1 has it when no draw was rejected
            tries = np.log1p(-expected.astype(np.float64)) / np.log1p(-p[classes])
            assert tries[0] > 4 and np.allclose(tries, np.round(tries[0]), rtol=1e-3)


def test_all_classes_are_found_and_seeds_repeat_them():
    first = sampler("log_uniform", [[0]], RANGE, True, seed=3)[0]
    again = sampler("log_uniform", [[0]], RANGE, True, seed=3)[0]
    a, b = session().run([first, again])
    assert sorted(a) == list(range(RANGE)) and sorted(b) == list(range(RANGE))
    sess, other = session(), session()
    runs = [sess.run(first).tolist() for _ in range(5)]
    assert runs == [other.run(first).tolist() for _ in range(5)] and runs[0] not in runs[1:]


@pytest.mark.parametrize("make", [
    lambda: sampler("uniform", [[0]], RANGE + 1, True), lambda: sampler("uniform", [[0, 1]], 3, True),
    lambda: tf.nn.fixed_unigram_candidate_sampler([[0]], 1, 3, True, 4, unigrams=[1.0, 0.0, 2.0, 0.0]),
    lambda: tf.nn.fixed_unigram_candidate_sampler([[0]], 1, 3, True, 5, unigrams=[1.0, 1.0, 2.0]),
    lambda: tf.nn.nce_loss(np.ones((9, 2), "f"), np.zeros(9, "f"), np.ones((2, 2), "f"), [[1], [2]], 2, 9)])
def test_what_cannot_be_drawn_says_so(make):
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        make()


# Losses

WEIGHTS = np.random.default_rng(0).normal(size=(RANGE, 3)).astype(np.float32)
BIASES = np.random.default_rng(1).normal(size=RANGE).astype(np.float32)
INPUTS = np.random.default_rng(2).normal(size=(5, 3)).astype(np.float32)
LABELS = np.array([[0, 3], [1, 1], [2, 7], [11, 4], [7, 0]])
SAMPLED, COUNTS = np.array([7, 1, 5, 9]), np.array([0.5, 0.25, 0.125, 0.75], np.float32)
TRUE_COUNTS = np.random.default_rng(3).uniform(0.1, 0.9, (5, 2)).astype(np.float32)


def expected_logits(remove_hits):
    true = np.einsum("bd,btd->bt", INPUTS, WEIGHTS[LABELS]) + BIASES[LABELS] - np.log(TRUE_COUNTS)
    sampled = INPUTS @ WEIGHTS[SAMPLED].T + BIASES[SAMPLED]
    if remove_hits:
        sampled = np.where((LABELS[:, :, None] == SAMPLED).any(1), -np.inf, sampled)
    logits = np.concatenate([true, sampled - np.log(COUNTS)], 1).astype(np.float64)
    return logits, np.concatenate([np.full((5, 2), 0.5), np.zeros((5, 4))], 1)


@pytest.mark.parametrize("strategy, parts", [("mod", 1), ("mod", 5), ("div", 5)])
@pytest.mark.parametrize("remove_hits", [False, True])
def test_losses_are_those_of_their_formulas(remove_hits, strategy, parts):
    cut = [np.arange(k, RANGE, parts) for k in range(parts)] if strategy == "mod" else np.array_split(
        np.arange(RANGE), parts)
    tables = [tf.constant(WEIGHTS[rows]) for rows in cut]
    sampled = (tf.constant(SAMPLED), tf.constant(TRUE_COUNTS), tf.constant(COUNTS))
    biases = [tf.constant(BIASES[rows]) for rows in cut]
    arguments = {"labels": tf.constant(LABELS), "inputs": tf.constant(INPUTS), "num_sampled": 4,
                 "num_classes": RANGE, "num_true": 2, "sampled_values": sampled,
                 "remove_accidental_hits": remove_hits, "partition_strategy": strategy}
    nce = tf.nn.nce_loss(tables, biases, **arguments)
    softmax = tf.nn.sampled_softmax_loss(tables, biases, **arguments)
    grads = tf.gradients(nce + softmax, tables)
    nce, softmax, *grads = session().run([nce, softmax, *grads])
    logits, targets = expected_logits(remove_hits)
    finite = np.maximum(logits, -1e30)
    sigmoid = np.logaddexp(0, finite) - finite * targets
    np.testing.assert_allclose(nce, sigmoid.sum(1), rtol=1e-4)
    np.testing.assert_allclose(softmax, -(targets * np.maximum(special.log_softmax(finite, 1), -1e38)).sum(1),
                               rtol=1e-4)
    assert all(np.isfinite(g).all() for g in grads) and any(g.any() for g in grads)


def test_accidental_hits_sum_to_those_of_the_formula():
    rows, places, weights = session().run(tf.nn.compute_accidental_hits(LABELS, SAMPLED, 2))
    found = np.zeros((5, 4))
    np.add.at(found, (rows, places), weights.astype(np.float64))
    assert np.array_equal(found < 0, (LABELS[:, :, None] == SAMPLED).any(1))


# Embeddings in parts

@pytest.mark.parametrize("strategy", ["mod", "div"])
def test_a_table_in_parts_and_ids_outside(strategy):
    table = np.arange(22, dtype=np.float32).reshape(11, 2)
    cut = [table[k::3] for k in range(3)] if strategy == "mod" else np.array_split(table, 3)
    ids = tf.placeholder(tf.int32, [None, 2])
    out = tf.nn.embedding_lookup([tf.constant(t) for t in cut], ids, strategy)
    short = tf.nn.embedding_lookup(tf.constant(table), ids, max_norm=1.0)
    sess, value = session(), np.array([[0, 10], [3, 4], [7, 8]])
    assert np.array_equal(sess.run(out, {ids: value}), table[value])
    np.testing.assert_allclose(np.linalg.norm(sess.run(short, {ids: value + 1 - (value == 10)}), axis=-1), 1,
                               rtol=1e-5)
    for bad in (-1, 11, 30):
        with pytest.raises(tf.errors.InvalidArgumentError):
            sess.run(out, {ids: [[0, bad]]})


def test_indexed_slices_are_gradients_too():
    w = tf.Variable(np.zeros((4, 2), np.float32))
    slices = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([3, 3]))
    train = tf.train.GradientDescentOptimizer(1.0).apply_gradients([(slices, w)])
    sess = session()
    sess.run(train)
    assert sess.run(w).tolist() == [[0, 0], [0, 0], [0, 0], [-4, -6]]
    assert not isinstance(tf.gradients(w * 2, w)[0], tf.IndexedSlices)
    dense = tf.convert_to_tensor(tf.IndexedSlices([1.0], [1], dense_shape=[3]))
    assert sess.run(dense).tolist() == [0, 1, 0]
