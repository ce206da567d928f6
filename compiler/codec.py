"""Codec: a Program as bytes and back, for a closed set of types: no pickle, nothing is executed.

    8 bytes   length of the JSON
    JSON      [table, value]; an object {"tag": fields} for what is no plain number, text or list
    rest      the bytes of arrays

Tuples of plain values are lists. Dims and loop nests stand in the table, each once, and may refer to earlier
rows. What belongs to the graph and not to the program is written as a number of the graph's `Subject`:
variables, constants, source lines. Of a loop nest its outer loops are kept, for the launch, and no more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from graphflow.compiler import program as _program
from graphflow.compiler.fingerprint import Subject
from graphflow.compiler.ir.dims import Atom, Poly
from graphflow.compiler.ir.dtypes import BY_CODE, DType, as_dtype
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.loops.blocking import Blocking, Dots
from graphflow.compiler.loops.nest import Loop, LoopNest, Product, Stmt
from graphflow.compiler.loops.view import Steps, View
from graphflow.compiler.passes.prune import Undecided

_CLASSES: dict[str, Any] = {c.__name__: c for c in (*vars(_program).values(), Loop, Product, Blocking, Dots,
                                                    View, Steps)
                            if isinstance(c, type) and is_dataclass(c)}
_FIELDS = {name: tuple(f.name for f in fields(c)) for name, c in _CLASSES.items()}
_PLAIN = (int, float, bool, type(None))
_ALIGNMENT = 64
_MARK = re.compile("\0([0-9]+)\0")


class CodecError(Exception):
    """A value of a type that has no form here, or bytes that no encoder made."""


def encode(value: Any, subject: Subject) -> bytes:
    """The bytes of a program (or an `Undecided`) that was compiled for the subject.

    Raises:  CodecError for a value outside the closed set
    """
    writer = _Writer(subject)
    root = writer.value(value)
    text = json.dumps([writer.table, root], separators=(",", ":")).encode()
    return b"".join([len(text).to_bytes(8, "little"), text, *writer.blobs])


def decode(data: bytes, subject: Subject) -> Any:
    """What was encoded, for this subject's variables, constants and lines.

    Raises:  CodecError for anything that `encode` does not write
    """
    try:
        end = 8 + int.from_bytes(data[:8], "little")
        table, root = json.loads(data[8:end])
        return _Reader(table, memoryview(data)[end:], subject).value(root)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as e:
        raise CodecError(f"no program: {e!r}") from None


class _Writer:
    def __init__(self, subject: Subject) -> None:
        self.table: list[Any] = []
        self.blobs: list[bytes] = []
        self._at = 0
        self._known: dict[Atom | Poly, int] = {}
        self._nests: dict[int, int] = {}
        self._variables = subject.variables
        self._constants = {id(a): k for k, a in enumerate(subject.constants)}
        self._lines = {f"{file}:{line}": k for (file, line), k in subject.sources.items()}
        files = {re.escape(file) for file, _ in subject.sources}
        self._line = re.compile(rf"(?:{'|'.join(sorted(files))}):[0-9]+") if files else None

    def value(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is tuple:
            items = [self.value(v) for v in value]
            return {"l": items} if any(type(i) in (list, dict) for i in items) else items
        write = _WRITERS.get(kind)
        if write is not None:
            return write(self, value)
        if _CLASSES.get(kind.__name__) is not kind:
            raise CodecError(f"a {kind.__name__} has no form in the cache")
        return self.record(value)

    def record(self, value: Any) -> Any:
        name = type(value).__name__
        return {name: [self.value(getattr(value, f)) for f in _FIELDS[name]]}

    def text(self, text: str) -> Any:
        """Source lines in error texts as their numbers."""
        if "\0" in text:
            raise CodecError(f"a text with a zero byte: {text!r}")
        marked = text if self._line is None else self._line.sub(self._numbered, text)
        return {"s": marked} if "\0" in marked else text

    def _numbered(self, found: re.Match[str]) -> str:
        number = self._lines.get(found[0])
        return found[0] if number is None else f"\0{number}\0"

    def variable(self, v: VariableHandle) -> Any:
        if v not in self._variables:
            raise CodecError(f"variable {v.name!r} is not the graph's")
        return {"v": self._variables[v]}

    def array(self, array: np.ndarray[Any, Any]) -> Any:
        number = self._constants.get(id(array))
        if number is not None:
            return {"c": number}
        start, content = self._at, array.tobytes()
        self.blobs += [content, bytes(-len(content) % _ALIGNMENT)]
        self._at += len(content) + len(self.blobs[-1])
        return {"a": [as_dtype(array.dtype).code, list(array.shape), start]}

    def dim(self, dim: Atom | Poly) -> Any:
        number = self._known.get(dim)
        if number is None:
            row = (["p", [[coef, [self.dim(a) for a in mono]] for mono, coef in dim.terms.items()]]
                   if isinstance(dim, Poly) else ["t", dim.kind, dim.name, self.value(dim.payload)])
            number = self._known[dim] = len(self.table)
            self.table.append(row)
        return {"d": number}

    def nest(self, nest: LoopNest) -> Any:
        """Many launches have one nest."""
        if id(nest) not in self._nests:
            outer = tuple(_outline(s) for s in nest.body if isinstance(s, (Loop, Product)))
            row = ["n", self.record(replace(nest, params=(), body=outer))]
            self._nests[id(nest)] = len(self.table)
            self.table.append(row)
        return {"d": self._nests[id(nest)]}

    def undecided(self, e: Undecided) -> Any:
        return {"u": [self.value(tuple(sorted(e.atoms))), self.value(e.symbols)]}


def _outline(stmt: Loop | Product) -> Stmt:
    return replace(stmt, body=(), accumulators=()) if isinstance(stmt, Loop) else replace(stmt, body=())


_WRITERS: dict[type, Callable[[_Writer, Any], Any]] = {
    str: _Writer.text, np.ndarray: _Writer.array, Atom: _Writer.dim, Poly: _Writer.dim,
    VariableHandle: _Writer.variable, Undecided: _Writer.undecided,
    dict: lambda w, value: {"m": [[w.value(k), w.value(v)] for k, v in value.items()]},
    DType: lambda w, value: {"y": value.code}, LoopNest: _Writer.nest}


class _Reader:
    def __init__(self, table: list[Any], blobs: memoryview, subject: Subject) -> None:
        self.blobs = blobs
        self.subject = subject
        self.variables = list(subject.variables)
        self.lines = [f"{file}:{line}" for file, line in subject.sources]
        self.table: list[Any] = []
        for row in table:
            self.table.append(self.row(row))

    def value(self, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            return tuple(value)
        if kind is not dict:
            return value
        (tag, body), = value.items()
        read = _READERS.get(tag)
        if read is not None:
            return read(self, body)
        if len(body) != len(_FIELDS[tag]):
            raise ValueError(f"{tag} has {len(body)} fields")
        return _CLASSES[tag](*map(self.value, body))

    def values(self, body: list[Any]) -> tuple[Any, ...]:
        return tuple(map(self.value, body))

    def text(self, text: str) -> str:
        return _MARK.sub(lambda found: self.lines[int(found[1])], text)

    def row(self, row: list[Any]) -> Any:
        if row[0] == "n":
            return self.value(row[1])
        if row[0] == "p":
            return Poly({tuple(map(self.value, mono)): int(coef) for coef, mono in row[1]})
        _, kind, name, payload = row
        return Atom(str(kind), str(name), self.value(payload))

    def array(self, body: list[Any]) -> np.ndarray[Any, Any]:
        code, shape, start = body
        dtype = BY_CODE[code].numpy
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        content = self.blobs[start:start + size]
        if min(shape, default=0) < 0 or start < 0 or len(content) != size:
            raise ValueError("an array beyond the end")
        array = np.empty(shape, dtype)  # of its own: aligned, whatever the bytes' place in the file
        array.reshape(-1).view(np.uint8)[:] = np.frombuffer(content, np.uint8)
        return array

    def undecided(self, body: list[Any]) -> Undecided:
        atoms, symbols = map(self.value, body)
        return Undecided(set(atoms), symbols)


_READERS: dict[str, Callable[[_Reader, Any], Any]] = {
    "d": lambda r, k: r.table[_index(k)], "v": lambda r, k: r.variables[_index(k)],
    "c": lambda r, k: r.subject.constants[_index(k)], "y": lambda r, code: BY_CODE[code],
    "m": lambda r, rows: {r.value(k): r.value(v) for k, v in rows},
    "a": _Reader.array, "l": _Reader.values, "s": _Reader.text, "u": _Reader.undecided}


def _index(k: Any) -> int:
    if type(k) is not int or k < 0:
        raise ValueError(f"{k!r} is no index")
    return k
