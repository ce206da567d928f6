"""Graphs as text, and back.

    graph(x: f32[n0,4], w: f32[4]) -> %1 ; v := %0
      %0 = mul(x, w) : f32[n0,4]   # train.py:12
      %1 = reduce_sum(%0, axis=(1,), keepdims=False) : f32[n0]

The subgraphs of a loop or conditional follow it, further in, and call their inputs a0, a1, ...
"""

from __future__ import annotations

import ast
import itertools
import os
import re
from typing import Any

import numpy as np

from graphflow.compiler.errors import GraphError
from graphflow.compiler.ir.convert import Literal
from graphflow.compiler.ir.dims import Poly, sym
from graphflow.compiler.ir.dtypes import BY_CODE, DType
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.registry import HOOKS, REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import parse_type
from graphflow.compiler.ir.unify import CompileRules
from graphflow.compiler.ir.variable import VariableHandle


def print_graph(graph: Graph, sources: bool = True) -> str:
    """The graph as text; placeholders and inputs go by name, other values by number."""
    names = {op.out: op.name for op in graph.operations if op.opdef.effect == "input"}
    inputs = graph.inputs or list(names)
    return "\n".join(_graph_lines("graph", graph, inputs, names, sources))


def _graph_lines(head: str, graph: Graph, inputs: list[Tensor], names: dict[Tensor, str],
                 sources: bool) -> list[str]:
    number = itertools.count()
    for op in graph.operations:
        for t in op.outputs:
            if t not in names:
                names[t] = f"%{next(number)}"
    head += f"({', '.join(f'{names[t]}: {t.type}' for t in inputs)})"
    if graph.outputs:
        head += f" -> {', '.join(names[t] for t in graph.outputs)}"
    for v, t in graph.updates.items():
        head += f" ; {v.name} := {names[t]}"
    lines = [head]
    for op in graph.operations:
        if op.opdef.effect != "input":
            lines.append(_line(op, names, sources))
        for key in op.opdef.regions:
            inner: Graph = op.attrs[key]
            entries = {t: f"a{k}" for k, t in enumerate(inner.inputs)}
            lines += [f"    {line}" for line in _graph_lines(key, inner, inner.inputs, entries, sources)]
    return lines


def _line(op: Operation, names: dict[Tensor, str], sources: bool) -> str:
    args = [names[t] for t in op.operands]
    args += [f"{k}={_attr_text(v)}" for k, v in op.attrs.items()
             if v is not None and k not in op.opdef.regions]
    left = ", ".join(names[t] for t in op.outputs)
    types = ", ".join(str(t.type) for t in op.outputs)
    line = f"  {left} = {op.opdef.name}({', '.join(args)}) : {types}" if left else \
        f"  {op.opdef.name}({', '.join(args)})"
    return f"{line}   # {os.path.basename(op.source[0])}:{op.source[1]}" if sources else line


def _attr_text(value: Any) -> str:
    if isinstance(value, DType):
        return value.code
    if isinstance(value, tuple):
        inner = ", ".join(_attr_text(v) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, (Poly, Literal)):
        return str(value)
    if isinstance(value, VariableHandle):
        return value.name
    if isinstance(value, Tensor):
        return f"<{value.name}>"
    return repr(value)


_HEAD = re.compile(r"\w+\((.*)\)(?: -> ([^;]*))?((?: ; .*)?)\Z")
_LINE = re.compile(r"(.*?) = (\w+)\((.*)\) : (\S.*)\Z")
_INPUT = re.compile(r"\s*([^:\[\]]+):\s*(\w+\[[^\]]*\])\s*(?:,|\Z)")


def parse_graph(text: str) -> Graph:
    """The graph that a text describes, inputs as feeds; each type is inferred and compared with the text."""
    HOOKS["load_ops"]()
    lines = [line.split("#")[0].rstrip() for line in text.strip().splitlines()]
    lines = [line for line in lines if line.strip()]
    if not lines or not lines[0].startswith("graph"):
        raise GraphError(f"a graph's text starts with 'graph(...)', not {lines[:1]}")
    return _parse_lines(lines, "feed")


def _parse_lines(lines: list[str], kind: str) -> Graph:
    """A graph from its head and, further in, its operations."""
    head = _HEAD.match(lines[0].strip())
    if head is None:
        raise GraphError(f"not the head of a graph: {lines[0].strip()!r}")
    graph = Graph(CompileRules())
    names: dict[str, Tensor] = {}
    with graph.as_default():
        for label, type_text in _INPUT.findall(head[1]):
            name = label.strip()
            t = REGISTRY["input"](kind=kind, label=name, type=parse_type(type_text), name=name)
            names[name] = t
            graph.inputs.append(t)
        for line, *inner in _grouped(lines[1:]):
            regions = {g[0].split("(")[0].strip(): _parse_lines(g, "loop") for g in _grouped(inner)}
            _parse_line(line.strip(), names, regions)
    graph.outputs = [_known(names, n) for n in (head[2] or "").split(",") if n.strip()]
    for part in head[3].split(" ; "):
        if ":=" in part:
            variable, value = (p.strip() for p in part.split(":="))
            graph.updates[VariableHandle(variable, _known(names, value).type)] = _known(names, value)
    return graph


def _grouped(lines: list[str]) -> list[list[str]]:
    """Each line that is no further in than the first, with those behind it that are."""
    groups: list[list[str]] = []
    margin = _margin(lines[0]) if lines else 0
    for line in lines:
        if _margin(line) <= margin:
            groups.append([])
        groups[-1].append(line)
    return groups


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


def _known(names: dict[str, Tensor], name: str) -> Tensor:
    found = names.get(name.strip())
    if found is None:
        raise GraphError(f"the graph's text uses {name.strip()!r} before it is made")
    return found


def _parse_line(line: str, names: dict[str, Tensor], regions: dict[str, Graph]) -> None:
    match = _LINE.match(line)
    if match is None or match[2] not in REGISTRY:
        raise GraphError(f"not an operation: {line!r}")
    opdef = REGISTRY[match[2]]
    operands: list[Tensor] = []
    attrs: dict[str, Any] = dict(regions)
    dtype = parse_type(match[4].split("],")[0].rstrip("]") + "]").dtype
    for argument in _split(match[3]):
        key, equals, value = argument.partition("=")
        if equals and key.strip().isidentifier():
            attrs[key.strip()] = _parse_attr(value.strip(), key.strip(), dtype)
        else:
            operands.append(_known(names, argument))
    result = opdef(*operands, **attrs)
    results = result if isinstance(result, tuple) else (result,)
    types = ", ".join(str(t.type) for t in results)
    if types != match[4].strip():
        raise GraphError(f"{line!r}: the operation gives {types}")
    for name, t in zip(match[1].split(","), results, strict=True):
        names[name.strip()] = t


def _split(text: str) -> list[str]:
    """Arguments at the outermost level of brackets."""
    parts, depth, start = [], 0, 0
    for k, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append(text[start:k])
            start = k + 1
    return [p.strip() for p in (*parts, text[start:]) if p.strip()]


def _parse_attr(text: str, key: str, dtype: DType) -> Any:
    if text in BY_CODE:
        return BY_CODE[text]
    if key == "value":
        return Literal(np.array(_literal(text), dtype=dtype.numpy))
    return _literal(text)


def _literal(text: str) -> Any:
    """A Python literal in which a bare name is a run-time dim."""
    special = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
    if text in special:
        return special[text]
    if text.startswith(("(", "[")):
        return tuple(_literal(p) for p in _split(text[1:-1]))
    if text.isidentifier() and text not in ("True", "False", "None"):
        return sym(text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise GraphError(f"{text!r} is not an attribute's value") from None
