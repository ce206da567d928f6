"""Graphs as text: what is printed parses back to the same text."""

from __future__ import annotations

import pytest

import graphflow as tf
from graphflow.compiler.ir.text import parse_graph, print_graph

TEXT = """graph(x: f32[?,4], n: i64[]) -> %3, %1
  %0 = constant(value=[1.0, nan, -inf, 2.5]) : f32[4]
  %1 = mul(x, %0) : f32[?,4]
  %2 = reduce_sum(%1, axis=(1,), keepdims=False) : f32[?]
  %3 = expand_dims(%2, axis=0) : f32[1,?]""".replace("?", "n0")


def test_round_trip():
    assert print_graph(parse_graph(TEXT), sources=False) == TEXT


def test_a_users_graph_prints_with_its_lines():
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        tf.exp(x)
    assert str(graph).splitlines()[0] == "graph(x: f32[?,4])"
    assert str(graph).splitlines()[1].startswith("  %0 = exp(x) : f32[?,4]   # test_text.py:")


@pytest.mark.parametrize("text, message", [
    ("hello", "starts with 'graph"),
    ("graph(x: f32[2]) -> %0\n  %0 = nonsense(x) : f32[2]", "not an operation"),
    ("graph(x: f32[2]) -> %0\n  %0 = exp(y) : f32[2]", "'y' before it is made"),
    ("graph(x: f32[2]) -> %0\n  %0 = exp(x) : f32[3]", r"gives f32\[2\]"),
    ("graph(x: f32[2]) -> %0\n  %0 = constant(value=__import__('os')) : f32[3]", "not an attribute"),
])
def test_bad_text(text, message):
    with pytest.raises(ValueError, match=message):
        parse_graph(text)


LOOP = """graph(x: f32[n0,2], p: bool[]) -> %2, %3
  %0 = constant(value=0) : i32[]
  %1, %2 = while_loop(%0, x, count=2, history=False) : i32[], f32[n0,2]
    cond(a0: i32[], a1: f32[n0,2]) -> %1
      %0 = constant(value=3) : i32[]
      %1 = less(a0, %0) : bool[]
    body(a0: i32[], a1: f32[n0,2]) -> %1, %2
      %0 = constant(value=1) : i32[]
      %1 = add(a0, %0) : i32[]
      %2 = tanh(a1) : f32[n0,2]
  %3 = cond(p, x) : f32[n0,2]
    then(a0: f32[n0,2]) -> %0
      %0 = exp(a0) : f32[n0,2]
    otherwise(a0: f32[n0,2]) -> a0"""


def test_subgraphs_round_trip():
    graph = parse_graph(LOOP)
    assert print_graph(graph, sources=False) == LOOP
    assert [t.op.kind for t in graph.operations[3].attrs["body"].inputs] == ["loop", "loop"]
