"""Graphs in the forms that other tools read."""

from __future__ import annotations

import networkx as nx
import pytest

import graphflow as tf
from graphflow.compiler.ir.export import critical_path, to_dot, to_mermaid, to_networkx


@pytest.fixture
def graph():
    with tf.Graph().as_default() as g:
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        y = tf.exp(x, name="y")
        with tf.control_dependencies([y]):
            tf.add(y, x, name="z")
    return g


def test_networkx(graph):
    found = to_networkx(graph)
    assert nx.is_directed_acyclic_graph(found) and list(found) == ["x", "y", "z"]
    assert found.nodes["y"]["type"] == "exp" and found.nodes["y"]["types"] == ["f32[?,2]"]
    edges = sorted(d.get("tensor", "control") for _, _, d in found.in_edges("z", data=True))
    assert edges == ["control", "x:0", "y:0"]
    assert critical_path(graph) == ["x", "y", "z"]


def test_drawings(graph):
    dot, mermaid = to_dot(graph), to_mermaid(graph)
    assert 'n1 [label="y\\nexp f32[?,2]"];' in dot and "n1 -> n2 [style=dashed];" in dot
    assert mermaid.splitlines()[0] == "flowchart TD" and "  n1 -.-> n2" in mermaid
