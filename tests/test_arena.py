"""Promises of the arena: buffers alive together never overlap, and the order of launches saves memory."""

from __future__ import annotations

import numpy as np
from fresh import graph, session  # noqa: F401
from hypothesis import given, settings
from hypothesis import strategies as st

import graphflow as tf
from graphflow.compiler.ir.dtypes import float32
from graphflow.compiler.loops.nest import LoopNest, Param
from graphflow.compiler.passes.launch import Launch
from graphflow.compiler.passes.order import _Work, order
from graphflow.compiler.passes.plan_memory import MemoryPlan
from graphflow.compiler.placement import alive_by_launch, most_alive, place
from graphflow.compiler.program import Buffer

LIVES = st.tuples(st.integers(0, 30), st.integers(0, 12)).map(lambda t: (t[0], t[0] + t[1]))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), LIVES), max_size=60))
def test_buffers_alive_together_never_overlap(buffers):
    sizes, lives = [s for s, _ in buffers], [life for _, life in buffers]
    offsets, total = place(sizes, lives)
    rounded = [-(-max(s, 1) // 64) * 64 for s in sizes]
    assert most_alive(rounded, lives) <= total <= sum(rounded)
    for i, (at, size, (first, last)) in enumerate(zip(offsets, rounded, lives, strict=True)):
        assert at % 64 == 0 and at >= 0 and at + size <= total
        for j in range(i):
            apart = at + size <= offsets[j] or offsets[j] + rounded[j] <= at
            assert apart or last < lives[j][0] or lives[j][1] < first


def test_gaps_that_touch_are_one():
    """Two neighbours of 64 bytes die; 128 bytes fit where they were."""
    assert place([64, 64, 64, 128], [(0, 0), (0, 0), (0, 2), (1, 2)])[1] == 192


def test_bytes_alive():
    assert alive_by_launch([10, 5, 1], [(0, 1), (1, 2), (2, 2)]) == [10, 15, 6]
    assert most_alive([], []) == 0


def program_of(edges: list[tuple[int, list[int]]]) -> tuple[list[Launch], MemoryPlan]:
    """Launch k makes a buffer of so many elements from those that earlier launches made."""
    launches, arguments = [], []
    buffers = [Buffer("arena", float32, size) for size, _ in edges]
    for k, (_, uses) in enumerate(edges):
        numbers = (*uses, k)
        params = tuple(Param(f"p{i}", float32, i == len(uses)) for i in range(len(numbers)))
        launches.append(Launch(LoopNest(params, (), ()), (), (), (), "map"))
        arguments.append(numbers)
    return launches, MemoryPlan(buffers, arguments, [], [])


@st.composite
def dependences(draw):
    count = draw(st.integers(1, 25))
    return [(draw(st.integers(1, 100)),
             sorted(draw(st.sets(st.integers(0, k - 1), max_size=3))) if k else []) for k in range(count)]


@settings(max_examples=300, deadline=None)
@given(dependences())
def test_another_order_runs_all_after_what_they_need_and_takes_no_more_memory(edges):
    launches, plan = program_of(edges)
    sequence = order(launches, plan)
    assert sorted(sequence) == list(range(len(edges)))
    at = {k: n for n, k in enumerate(sequence)}
    assert all(at[u] < at[k] for k, (_, uses) in enumerate(edges) for u in uses)
    work, sizes = _Work(launches, plan), [size for size, _ in edges]
    assert work.needs(sequence, sizes) <= work.needs(range(len(edges)), sizes)
    assert order(launches, plan) == sequence


def test_what_frees_memory_goes_first():
    launches, plan = program_of([(100, []), (100, []), (1, [0]), (1, [1])])
    assert order(launches, plan) == [0, 2, 1, 3]


def test_many_branches_need_the_memory_of_one():
    x = tf.placeholder(tf.float32, [None, 64])
    wide = [tf.matmul(x, tf.ones([64, 512]) * k) for k in range(1, 9)]
    thin = [tf.matmul(w, tf.ones([512, 1])) for w in wide]
    sess = session()
    run = sess.engine.prepare(thin, [], [x])
    v = np.random.RandomState(0).rand(100, 64).astype(np.float32)
    for k, value in enumerate(run(v)):
        np.testing.assert_allclose(value[:, 0], v.sum(1) * (k + 1) * 512, rtol=1e-5)
    weights = 8 * 64 * 512 * 4
    assert run.figures([v]).peak_bytes < weights + 3 * 100 * 512 * 4


def test_variables_are_still_written_in_place():
    """The gradient step reads each weight before its update, in any order that saves memory."""
    x = tf.placeholder(tf.float32, [None, 32])
    h = x
    for k in range(6):
        h = tf.tanh(tf.matmul(h, tf.get_variable(f"w{k}", [32, 32])))
    step = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(h))
    sess = session()
    run = sess.engine.prepare([], [step], [x])
    run(np.ones((7, 32), np.float32))
    assert run.programs[0].copies == ()
