"""Fingerprint: what a compilation depends on, as text. Equal texts give equal programs.

Lines of source may move: a text has only which operations share a line. `Subject` has the lines themselves,
with the variables and constants that a program refers to; so a program compiled for one graph serves another
graph of equal fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.digests import digest_of_long
from graphflow.compiler.ir.convert import Literal
from graphflow.compiler.ir.dims import Poly
from graphflow.compiler.ir.dtypes import DType, as_dtype
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import ancestors
from graphflow.compiler.ir.source import Source
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.signature import Signature

_INLINE = 64  # bytes of a constant that are written out; of more, their hash


class UnsuitedError(Exception):
    """The text cannot say what this depends on, such as the code of a user's own op."""


class Subject:
    """A signature's operations, and what its program refers to, in an order that the graph alone gives."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.needed = ancestors(signature.fetches, signature.given, signature.targets)
        self.variables: dict[VariableHandle, int] = {}
        self.sources: dict[Source, int] = {}
        self.constants: list[np.ndarray[Any, Any]] = []
        self._number = {op: k for k, op in enumerate(self.needed)}
        self._types: dict[int, str] = {}
        self._names = {t: f"f{k}" for k, t in enumerate(signature.given)}
        try:
            self.fingerprint = self._fingerprint()
        except KeyError as e:
            raise UnsuitedError(f"an attribute refers to {e}, which the run does not need") from None

    def _fingerprint(self) -> str:
        s = self.signature
        lines = [repr((s.pins, s.asks))]
        lines += [f"feed {self._head(t.op)} {t.index} {_type(t.type)} {_type(given)}"
                  for t, given in zip(s.feeds, s.feed_types, strict=True)]
        lines += [f"kept {self._head(t.op)} {t.index} {_type(t.type)}" for t in s.kept]
        lines += [self._operation(op, str(k)) for k, op in enumerate(self.needed)]
        lines.append(f"fetch {' '.join([self._names[t] for t in s.fetches])}")
        lines.append(f"target {[self._number[op] for op in s.targets]}")
        return "\n".join(lines)

    def _operation(self, op: Operation, label: str) -> str:
        """An operation's line; its outputs are known by the label from now on."""
        names = self._names
        for t in op.outputs:
            names.setdefault(t, f"{label}:{t.index}")
        types = [self._type(t.type) for t in op.outputs]
        line = f"{self._head(op)}({' '.join([names[t] for t in op.operands])}) {' '.join(types)}"
        if op.attrs:
            line += f" {' '.join([f'{name}={self._text(value)}' for name, value in op.attrs.items()])}"
        if op.control_inputs:
            line += f" after {[self._number[c] for c in op.control_inputs]}"
        return line

    def _graph(self, graph: Graph) -> str:
        """A subgraph: its inputs, its operations and its outputs."""
        label = f"g{len(self._names)}"
        lines = []
        for k, op in enumerate(graph.operations):
            self._number.setdefault(op, len(self._number))
            lines.append(self._operation(op, f"{label}.{k}"))
        ends = [" ".join([self._names[t] for t in tensors]) for tensors in (graph.inputs, graph.outputs)]
        return "{" + "\n".join([*lines, *ends]) + "}"

    def _head(self, op: Operation) -> str:
        """The record, the name, and the line as a number: lines are numbered as they come."""
        if op.opdef.home:
            raise UnsuitedError(f"op {op.opdef.name!r} is not one of graphflow's own")
        variable = op.attrs.get("variable")
        line = self.sources.setdefault(op.source, len(self.sources))
        return f"{op.opdef.name} {op.name!r} {line} {'' if variable is None else self._text(variable)}"

    def _text(self, value: Any) -> str:
        write = _WRITERS.get(type(value))
        if write is None:
            raise UnsuitedError(f"an attribute is a {type(value).__name__}")
        return write(self, value)

    def _type(self, t: TensorType) -> str:
        """The same object is the type of many tensors."""
        text = self._types.get(id(t))
        if text is None:
            text = self._types[id(t)] = _type(t)
        return text

    def _variable(self, v: VariableHandle) -> str:
        return f"v{self.variables.setdefault(v, len(self.variables))} {v.name!r} {_type(v.type)}"

    def _literal(self, literal: Literal) -> str:
        array = literal.array
        self.constants.append(array)
        content = array.tobytes().hex() if array.nbytes <= _INLINE else digest(array)
        return f"{as_dtype(array.dtype).code}{array.shape}{content}"

    def _poly(self, dim: Poly) -> str:
        terms = [f"{coef} " + " ".join(f"{a.kind}:{'' if a.payload else a.name}:{self._text(a.payload)}"
                                       for a in mono) for mono, coef in dim.terms.items()]
        return f"<{' + '.join(sorted(terms))}>"


def digest(array: np.ndarray[Any, Any]) -> str:
    """The hash of an array's bytes."""
    return digest_of_long(array.reshape(-1).view(np.uint8).data).hex()


def _type(t: TensorType) -> str:
    return f"{t.dtype.code}{t.dims}"


def _plain(_: Subject, value: object) -> str:
    return repr(value)


_WRITERS: dict[type, Callable[[Subject, Any], str]] = {
    **dict.fromkeys((int, float, bool, str, type(None), bytes), _plain),
    tuple: lambda s, value: f"({','.join(map(s._text, value))})",
    DType: lambda s, value: str(value.code), TensorType: lambda _, value: _type(value),
    Tensor: lambda s, value: s._names[value],
    VariableHandle: Subject._variable, Literal: Subject._literal, Poly: Subject._poly,
    Graph: Subject._graph}
