"""Every op record, by its own samples; and what samples cannot say."""

from __future__ import annotations

import math

import numpy as np
import op_suite
import pytest

import graphflow.compiler.ops.catalog  # noqa: F401
from graphflow import testing
from graphflow.compiler import oracle
from graphflow.compiler.errors import DTypeError, InvalidArgumentError, ShapeError
from graphflow.compiler.ir.dtypes import float32, float64, int32, int64
from graphflow.compiler.ir.graph import Graph
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ops import (
    core,
    elementwise,
    gathering,
    indexing,
    joining,
    linalg,
    nn,
    random,
    reductions,
    sequences,
    shapes,
)

TESTED = [op for op in REGISTRY.values() if op.samples]
CASES = [(op, s) for op in TESTED for s in op.samples]


@pytest.fixture(autouse=True)
def graph():
    with Graph().as_default() as g:
        yield g


def hold(*shape, dtype=float32):
    return core.placeholder(dtype=dtype, shape=list(shape))


def evaluate(y, feeds=None):
    return oracle.run([y], feeds or {})[0]


# Samples

@pytest.mark.parametrize("opdef", TESTED, ids=lambda op: op.name)
@pytest.mark.parametrize("check", [testing.check_value, testing.check_unknown_dims, testing.check_lowering,
                                   testing.check_gradients], ids=lambda c: c.__name__[6:])
def test_samples(opdef, check):
    for sample in opdef.samples:
        check(opdef, sample)


@pytest.mark.parametrize("check", [testing.check_compiled, testing.check_compiled_gradients],
                         ids=["values", "gradients"])
def test_all_samples_in_one_program(check):
    check(CASES)


@pytest.mark.parametrize("opdef", TESTED, ids=lambda op: op.name)
def test_samples_compiled_with_unknown_dims(opdef):
    testing.check_compiled([(opdef, s) for s in opdef.samples], unknown=True)


def test_only_ops_that_are_no_functions_have_no_samples():
    assert all(op.samples or op.effect or op.regions or op.name in ("constant", "placeholder_with_default")
               for op in REGISTRY.values() if not op.home)  # other tests make ops of their own


def test_every_composite_has_a_reference():
    assert {op.name for op in TESTED if op.numpy is None} == set(op_suite.REFERENCES)


@pytest.mark.parametrize("name", op_suite.REFERENCES)
def test_composites_against_independent_definitions(name):
    for sample in REGISTRY[name].samples:
        arrays = sample.arrays()
        inputs, (y,) = testing.build(REGISTRY[name], sample, arrays)
        with np.errstate(all="ignore"):
            expected = np.asarray(op_suite.REFERENCES[name](*arrays, **sample.attrs)).astype(y.dtype.numpy)
        finite = np.isfinite(expected)
        found = evaluate(y, dict(zip(inputs, arrays, strict=True)))
        testing.assert_close(found[finite], expected[finite], testing.label(REGISTRY[name], sample))


# Division and dtypes, as TF1

def test_slash_on_ints_gives_float64():
    x = hold(2, dtype=int32)
    assert (x / 2).dtype is float64
    assert elementwise.div(x, 2).dtype is int32
    assert evaluate(elementwise.div(x, 2), {x: np.array([-7, 7], np.int32)}).tolist() == [-4, 3]


def test_int_mean_rounds_towards_zero():
    x = hold(3, dtype=int32)
    assert evaluate(reductions.reduce_mean(x), {x: np.array([-5, -1, -1], np.int32)}) == -2


def test_operands_of_two_dtypes_are_refused_with_their_lines():
    with pytest.raises(DTypeError, match=r"(?s)float32.*int32.*test_ops.py.*test_ops.py"):
        hold(3) + hold(3, dtype=int32)


def test_shapes_that_do_not_broadcast_are_refused_with_their_lines():
    with pytest.raises(ShapeError, match=r"(?s)add.*\[2,3\].*\[4\].*test_ops.py"):
        hold(2, 3) + hold(4)


def test_matmul_error_names_the_flag_that_fits():
    with pytest.raises(ShapeError, match="transpose_b=True would fit"):
        linalg.matmul(hold(2, 3), hold(4, 3))


# Indexing

X = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
KEYS = [0, -1, slice(1, None), slice(None, None, -1), slice(-1, 0, -2), (1, 2, 3), (slice(None), 1), (..., 0),
        (0, ...),
        (..., slice(1, 3), slice(None, None, 2)), None, (None, 1, None), (slice(2, 1),), (..., None),
        (1, ..., None, 2),
        (slice(None), slice(10, None)), (), (np.int64(1),)]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_getitem_is_numpys(key, known):
    x = hold(3, 4, 5) if known else hold(None, None, None)
    y = x[key]
    assert y.shape.is_compatible_with(X[key].shape)
    assert np.array_equal(evaluate(y, {x: X}), X[key])


def test_getitem_by_int_tensors():
    x, i, j = hold(3, 4, 5), hold(dtype=int32), hold(dtype=int64)
    feeds = {x: X, i: np.int32(-1), j: np.int64(2)}
    for y, e in ((x[i], X[-1]), (x[:, j], X[:, 2]), (x[i, 1:3, j], X[-1, 1:3, 2]), (x[..., j], X[..., 2]),
                 (x[i, ..., j], X[-1, ..., 2]), (x[None, i, :, j], X[None, -1, :, 2])):
        assert np.array_equal(evaluate(y, feeds), e)


def test_getitem_by_symbols():
    x = hold(None, 5)
    n = shapes.shape(x)[0]
    assert np.array_equal(evaluate(x[:n - 1], {x: X[0]}), X[0][:-1])
    assert np.array_equal(evaluate(x[n - 1], {x: X[0]}), X[0][-1])


@pytest.mark.parametrize("key", [1.0, True, (..., ...), (0, 0, 0, 0), 7, (slice(None, None, 0),)], ids=str)
def test_getitem_refuses(key):
    with pytest.raises(ShapeError):
        hold(3, 4, 5)[key]


def test_an_index_out_of_range_is_an_error_of_the_run():
    x, i = hold(3, 2), hold(None, dtype=int32)
    for bad in (3, -1):
        with pytest.raises(InvalidArgumentError, match=str(bad)):
            evaluate(gathering.gather(x, i),
                     {x: np.ones((3, 2), np.float32), i: np.array([0, bad], np.int32)})
    labels, logits = hold(None, dtype=int32), hold(None, 3)
    loss = nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    with pytest.raises(InvalidArgumentError, match="3"):
        evaluate(loss, {labels: np.array([3], np.int32), logits: np.ones((1, 3), np.float32)})


# Shapes known only at run time

def test_reshape_by_the_shape_of_another_tensor():
    x = hold(None, 4, 5)
    y = shapes.reshape(x, shape=[shapes.shape(x)[0], 20])
    assert y.shape.as_list() == [None, 20]
    assert evaluate(y, {x: X}).shape == (3, 20)
    z = shapes.reshape(x, shape=joining.concat(shapes.shape(x)[:1], [2, 10], axis=0))
    assert z.shape.as_list() == [None, 2, 10]
    assert evaluate(z, {x: X}).shape == (3, 2, 10)
    total = reductions.reduce_prod(shapes.shape(x)[1:])
    assert shapes.reshape(x, shape=[-1, total]).shape.as_list() == [None, 20]


def test_known_part_of_shapes_is_inferred():
    x = hold(None, 4)
    assert joining.concat(x, x, axis=0).shape.as_list() == [None, 4]
    assert joining.concat(x, x, axis=1).shape.as_list() == [None, 8]
    assert shapes.fill(1.0, dims=[shapes.shape(x)[0], 3]).shape.as_list() == [None, 3]
    assert sequences.make_range(shapes.shape(x)[1]).shape.as_list() == [4]
    assert joining.pad(x, paddings=[[1, 1], [2, 0]]).shape.as_list() == [None, 6]
    assert shapes.tile(x, multiples=[2, 3]).shape.as_list() == [None, 12]
    assert linalg.matmul(x, hold(4, 7)).shape.as_list() == [None, 7]


def test_ranges():
    assert evaluate(sequences.make_range(3)).tolist() == [0, 1, 2]
    assert evaluate(sequences.make_range(1, 2, 0.25)).tolist() == [1, 1.25, 1.5, 1.75]
    assert evaluate(sequences.make_range(5, 0, -2)).dtype == np.int32
    assert evaluate(sequences.make_range(0, 3, dtype=int64)).dtype == np.int64
    with pytest.raises(ShapeError):
        sequences.make_range(0, 5, -1)
    with pytest.raises(ShapeError):
        sequences.make_range(0.0, 5.0, 0)


# Random numbers

@pytest.mark.parametrize("counter, key, expected", [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1))])
def test_philox_gives_its_published_answers(counter, key, expected):
    def word(v):
        return v & 0xFFFFFFFF

    class Word(int):
        def __mul__(self, other):
            return Word(word(int(self) * int(other)))

        def __add__(self, other):
            return Word(word(int(self) + int(other)))

        def __xor__(self, other):
            return Word(int(self) ^ int(other))

    found = random.philox(tuple(map(Word, counter)), tuple(map(Word, key)),
                          lambda a, b: Word(int(a) * int(b) >> 32), Word)
    assert tuple(map(int, found)) == expected


def drawn(opdef, run=0, **attrs):
    """The numbers that an op gives in a run."""
    key = core.literal(np.array([11, 22, run, 0], np.uint32))
    dtype = attrs.pop("dtype", float32)
    y = random.draw(opdef, attrs.pop("shape", (40_000,)), dtype, attrs.pop("seed", None), None, **attrs)
    return evaluate(opdef.expand(y.op, key))


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_uniform_numbers_are_uniform(dtype):
    u = drawn(random.random_uniform, dtype=dtype, minval=-1.0, maxval=3.0)
    assert u.dtype == dtype.numpy and u.min() >= -1 and u.max() < 3
    counts = np.histogram(u, 16, (-1, 3))[0]
    assert np.sum((counts - 2500) ** 2 / 2500) < 45  # chi squared, 15 degrees of freedom: 1 in 10,000


@pytest.mark.parametrize("dtype", [int32, int64], ids=str)
def test_uniform_ints_have_every_value(dtype):
    u = drawn(random.random_uniform, dtype=dtype, minval=-3, maxval=4)
    assert u.dtype == dtype.numpy and sorted(set(u.tolist())) == list(range(-3, 4))
    assert abs(u.mean()) < 0.05


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_normal_numbers_have_the_moments_of_the_normal_distribution(dtype):
    z = (drawn(random.random_normal, dtype=dtype, mean=5.0, stddev=2.0) - 5) / 2
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert abs(np.mean(z**power) - moment) < 6 * math.sqrt(105 / z.size)
    z = drawn(random.truncated_normal, dtype=dtype, mean=0.0, stddev=1.0)
    assert abs(z).max() <= 2 and abs(z.std() - 0.8796) < 0.02 and abs(z.mean()) < 0.03


def test_runs_and_ops_differ_and_seeds_repeat(graph):
    normal = {"opdef": random.random_normal, "mean": 0.0, "stddev": 1.0, "shape": (8,)}
    assert not np.array_equal(drawn(**normal, run=0), drawn(**normal, run=1))
    assert not np.array_equal(drawn(**normal), drawn(**normal))
    assert random.seed_pair(graph, 7) == (random.DEFAULT_GRAPH_SEED, 7)
    graph.seed = 3
    assert random.seed_pair(graph, 7) == (3, 7)
    key, other = (core.literal(np.array(k, np.uint32)) for k in ([1, 2, 5, 0], [3, 4, 5, 0]))
    bits = [evaluate(random.random_bits(k, shape=(6,), seed=(3, 7), stream=9)) for k in (key, other)]
    assert np.array_equal(*bits)


# Records

def test_boolean_reductions_take_bools_only():
    with pytest.raises(DTypeError, match="bool"):
        reductions.reduce_any(hold(3))


def test_gradient_of_a_product_with_zeros():
    from graphflow.compiler.autodiff import gradients

    x = hold(3, 3, dtype=float64)
    g, = gradients([reductions.reduce_prod(x, axis=1)], [x])
    value = np.array([[2.0, 3, 4], [2, 0, 4], [0, 0, 4]])
    assert evaluate(g, {x: value}).tolist() == [[12, 8, 6], [0, 8, 0], [0, 0, 0]]


def test_strided_slice_takes_a_step_from_the_end():
    assert evaluate(indexing.strided_slice(core.literal(np.arange(7)), begin=[-1], end=[-6],
                                           strides=[-2])).tolist() \
        == [6, 4, 2]
