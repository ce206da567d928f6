"""GRAPHFLOW_TUNE=1: products are measured once, and the winner is used from then on."""

from __future__ import annotations

import numpy as np
import pytest
from gemm_runner import Case

import graphflow as tf
from graphflow.compiler import pipeline
from graphflow.compiler.codegen.gemm.choose import Extents, choose
from graphflow.compiler.codegen.gemm.terms import Terms
from graphflow.compiler.codegen.gemm.trial import candidates
from graphflow.compiler.ir.dtypes import float32, float64
from graphflow.compiler.loops.blocking import Blocking
from graphflow.compiler.target import Target
from graphflow.runtime import cache, tuning

SMALL = Target(512, l1=1 << 10, l2=1 << 14, l3=1 << 18)


def product_of(dtype, m, n, k, ta, tb):
    return Extents(Terms(dtype, dtype, dtype), m, n, k, ta, tb)


@pytest.fixture
def tuned(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHFLOW_CACHE", str(tmp_path))
    monkeypatch.setenv("GRAPHFLOW_TUNE", "1")
    monkeypatch.setattr(tuning, "_SECONDS", 1e-5)
    monkeypatch.setattr(tuning, "_ROUNDS", 1)
    tuning._loaded.cache_clear()
    yield tmp_path
    tuning._loaded.cache_clear()


def run(m=80, k=90, n=100):
    a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
    with tf.Graph().as_default():
        x, y = tf.placeholder(tf.float32, a.shape), tf.placeholder(tf.float32, b.shape)
        result = tf.Session().run(tf.nn.relu(tf.matmul(x, y)), {x: a, y: b})
    assert np.array_equal(result, a @ b)


def test_a_product_is_measured_once_and_remembered(tuned, monkeypatch):
    run()
    product = product_of(float32, 80, 100, 90, False, False)
    table = tuning._table()
    assert list(table) == [product]
    tuning._loaded.cache_clear()  # as in another process
    monkeypatch.setattr(tuning, "_fastest", None)
    assert tuning._table() == table
    run()


ODD = Blocking(16, 5, 1, 24, 2, 2, True, True)


@pytest.fixture
def targets(monkeypatch):
    """What programs are compiled for."""
    seen, original = [], pipeline.compile_signature

    def compiled(signature, target, note):
        seen.append(target)
        return original(signature, target, note)

    monkeypatch.setattr(pipeline, "compile_signature", compiled)
    for name in ("GRAPHFLOW_CHECK", "GRAPHFLOW_JIT", "GRAPHFLOW_GEMM"):
        monkeypatch.delenv(name, raising=False)
    return seen


def test_what_was_measured_is_used(tuned, targets, monkeypatch):
    monkeypatch.setattr(tuning, "_fastest", lambda e: ODD)
    run(82)
    product = product_of(float32, 82, 100, 90, False, False)
    assert targets[-1].tuned == ((product, ODD),) and choose(product, targets[-1]).rows == 5


def test_others_do_not_see_it(tuned, targets, monkeypatch):
    run()
    monkeypatch.setenv("GRAPHFLOW_TUNE", "0")
    run()
    assert [len(t.tuned) for t in targets] == [0, 1, 0]


def test_a_kept_program_stays_valid_when_other_products_are_measured(tuned, targets):
    for m in (80, 81, 82, 80, 81, 82):
        run(m)
    assert len(targets) == 6  # twice each, before its product is measured and after


def test_a_kept_program_goes_with_what_was_measured_of_its_products(tuned, targets, monkeypatch):
    run()
    product, = tuning._table()
    tuning._table()[product] = ODD
    run()
    assert targets[-1].tuned == ((product, ODD),)
    count = len(targets)
    run()
    assert len(targets) == count


def test_products_of_what_is_held_are_not_measured(tuned, monkeypatch):
    monkeypatch.delenv("GRAPHFLOW_GEMM", raising=False)
    monkeypatch.setattr(tuning, "_fastest", None)
    a, b = np.ones((200, 700), np.float32), np.ones((900, 700), np.float32)
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, a.shape)
        y = tf.matmul(x, tf.constant(b), transpose_b=True)
        assert np.array_equal(tf.Session().run(y, {x: a}), a @ b.T)
    assert not tuning._table()


def test_a_damaged_table_is_none(tuned):
    cache.current().write(tuning._key(), b'[[["f32", 1], {"rows": 3}]]')
    assert tuning._table() == {}
    run()


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.code)
def test_every_candidate_computes_the_product(dtype):
    rng = np.random.default_rng(0)
    for ta, tb in ((False, False), (True, False), (False, True)):
        e = product_of(dtype, 70, 110, 130, ta, tb)
        forms = candidates(e, SMALL)
        assert len(set(forms)) == len(forms) > 3 and forms[0] == choose(e, SMALL)
        a = rng.integers(-8, 9, (130, 70) if ta else (70, 130)).astype(dtype.numpy)
        b = rng.integers(-8, 9, (110, 130) if tb else (130, 110)).astype(dtype.numpy)
        for form in forms:
            found = Case(dtype, 70, 110, 130, ta, tb, blocking=form).compile()(a, b)
            assert np.array_equal(found, (a.T if ta else a) @ (b.T if tb else b)), form


def test_some_products_have_no_candidates():
    assert not candidates(product_of(float32, 1, 1, 5000, False, False), SMALL)
    assert not candidates(product_of(float32, 64, 64, 100_000, False, False), SMALL)
