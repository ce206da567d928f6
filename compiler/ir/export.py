"""Graphs for other tools: networkx for analyses, Graphviz and Mermaid text for drawings."""

from __future__ import annotations

import networkx as nx

from graphflow.compiler.ir.graph import Graph, Operation


def to_networkx(graph: Graph) -> nx.MultiDiGraph:
    """Operations as nodes (by name, with `type`, `types` and `source`), tensors and control edges as edges.

    An edge has `tensor`, its name, or `control=True`.
    """
    result = nx.MultiDiGraph()
    for op in graph.operations:
        result.add_node(op.name, type=op.opdef.name, types=[str(t.type) for t in op.outputs],
                        source=f"{op.source[0]}:{op.source[1]}")
        for t in op.operands:
            result.add_edge(t.op.name, op.name, tensor=t.name)
        for c in op.control_inputs:
            result.add_edge(c.name, op.name, control=True)
    return result


def critical_path(graph: Graph) -> list[str]:
    """The longest chain of operations that depend on each other, by name."""
    path: list[str] = nx.dag_longest_path(nx.DiGraph(to_networkx(graph)))
    return path


def to_dot(graph: Graph) -> str:
    """Graphviz text; control edges are dashed."""
    lines = ["digraph graphflow {", "  rankdir=TB; node [shape=box, fontname=monospace];"]
    number = {op: f"n{k}" for k, op in enumerate(graph.operations)}
    for op in graph.operations:
        lines.append(f'  {number[op]} [label="{_label(op, chr(92) + "n")}"];')
        lines += [f"  {number[t.op]} -> {number[op]};" for t in op.operands]
        lines += [f"  {number[c]} -> {number[op]} [style=dashed];" for c in op.control_inputs]
    return "\n".join([*lines, "}"])


def to_mermaid(graph: Graph) -> str:
    """Mermaid text, which notebooks and code hosts draw."""
    lines = ["flowchart TD"]
    number = {op: f"n{k}" for k, op in enumerate(graph.operations)}
    for op in graph.operations:
        lines.append(f'  {number[op]}["{_label(op, "<br/>")}"]')
        lines += [f"  {number[t.op]} --> {number[op]}" for t in op.operands]
        lines += [f"  {number[c]} -.-> {number[op]}" for c in op.control_inputs]
    return "\n".join(lines)


def _label(op: Operation, line_break: str) -> str:
    types = ", ".join(str(t.type) for t in op.outputs)
    text = f"{op.name}{line_break}{op.opdef.name} {types}".rstrip()
    return text.replace('"', "'")
