"""The next row is fetched where a pass over the present one computes long enough."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.kernel import emit_kernel
from graphflow.compiler.ir.text import parse_graph
from graphflow.compiler.loops.nest import Loop, LoopNest, statements
from graphflow.compiler.passes.expand import expand
from graphflow.compiler.passes.fetch_ahead import fetch_ahead
from graphflow.compiler.passes.fuse import fuse
from graphflow.compiler.passes.lower import lower
from graphflow.compiler.passes.schedule import schedule
from graphflow.compiler.target import Target

TARGET = Target(512)


def rows_of(op: str, columns: int, dtype: str = "f32") -> LoopNest:
    """An op along the rows of a matrix."""
    graph = expand(parse_graph(f"graph(x: {dtype}[n0,{columns}]) -> %0\n"
                               f"  %0 = {op}(x, axis=-1) : {dtype}[n0,{columns}]"))
    (launch,) = lower(fuse(graph), TARGET)
    return schedule(launch.nest, 512)


def fetched(nest: LoopNest) -> list[str]:
    found = statements(fetch_ahead(nest, TARGET).body)
    return [str(n) for s in found if isinstance(s, Loop) for n in s.ahead]


def test_softmax_fetches_where_it_computes_exponentials():
    nest = rows_of("softmax", 4096)
    lines = str(fetch_ahead(nest, TARGET)).splitlines()
    assert [line.strip().split(", ")[-1] for line in lines if "vector for" in line] == [
        "r1_1 max= p0[4096*i0+i1]:", "fetching p0[4096*i0+i1+4096]:", "vector for i1 < 4096:"]
    assert str(fetch_ahead(nest, TARGET)).replace(", fetching p0[4096*i0+i1+4096]", "") == str(nest)


@pytest.mark.parametrize("columns, dtype, fetches", [
    (1024, "f32", False), (2048, "f32", True), (1024, "f64", True), (65536, "f32", True),
    (65537, "f32", False), (65536, "f64", False)])
def test_rows_longer_than_pages_that_leave_room_in_the_cache(columns, dtype, fetches):
    assert bool(fetched(rows_of("softmax", columns, dtype))) == fetches


def test_light_passes_fetch_nothing():
    graph = parse_graph("""graph(x: f32[n0,4096]) -> %1
  %0 = reduce_max(x, axis=-1, keepdims=True) : f32[n0,1]
  %1 = sub(x, %0) : f32[n0,4096]""")
    (launch,) = lower(fuse(graph), TARGET)
    assert not fetched(schedule(launch.nest, 512))


@pytest.mark.parametrize("dtype, lines", [("f32", 4), ("f64", 4)])
def test_every_line_is_fetched_once(dtype, lines):
    """In whole vectors, not in what is left of a row."""
    text = emit_kernel(fetch_ahead(rows_of("softmax", 4100, dtype), TARGET), "k", Module(512))
    assert text.count("call void @llvm.prefetch") == lines


@pytest.mark.parametrize("shape", [(1, 2048), (3, 5000), (70, 2049)])
def test_values(shape):
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        fed = tf.placeholder(tf.float32, (None, shape[1]))
        found = session.run(tf.nn.softmax(fed), {fed: x})
    e = np.exp(x.astype(np.float64))
    np.testing.assert_allclose(found, e / e.sum(1, keepdims=True), rtol=2e-6)
