"""What a loop computes in each iteration from its counter and memory alone is computed before, in vectors."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.ir.dims import Dim, Poly, atom, atoms_of, axis, coefficient, only_atom, substitute
from graphflow.compiler.ir.dtypes import DType, int64
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.nest import Let, Loop, Stmt, Store, While
from graphflow.compiler.passes.launch import Memory, Scratch
from graphflow.compiler.records import record

_COSTLY = 10  # additions: a function such as exp, in a vector, against a load


@record
class _Counter:
    """A variable that counts by 1: it takes the values first, first + 1, ..., up or down, `trips` of them."""

    name: str
    first: Expr
    trips: Expr


def split_while(loop: While, memory: Memory) -> list[Stmt]:
    """The loop, after another one that computes what is costly and does not wait for the iteration before.

    Example:  while gt(i, 0): t = p0[i - 1] ; c = cos(t) ; i = sub(i, 1), g = mul(g, c)
    -->       vector for k < i: p1[k] = cos(p0[k])
              while gt(i, 0): i = sub(i, 1), g = mul(g, p1[i - 1])
    """
    counter = _counter(loop)
    if counter is None:
        return [loop]
    return _Splitter(loop, counter, memory).split()


def _counter(loop: While) -> _Counter | None:
    """The counter that alone decides when the loop ends, from a condition i < n or i > n."""
    values = {s.name: s.value for s in loop.test if isinstance(s, Let)}
    test = values.get(loop.condition.attr) if loop.condition.op == "temp" else None
    if len(loop.test) != 1 or test is None or test.op not in ("lt", "gt"):
        return None
    i, limit = test.args
    steps = {s.name: s.value for s in loop.body if isinstance(s, Let)}
    for v in loop.variables:
        following = steps.get(v.following.attr) if v.following.op == "temp" else None
        if i != E.temp(v.name, v.start.dtype) or not v.start.dtype.is_integer or following is None:
            continue
        up = following in (E.call("add", i, 1), E.call("sub", i, -1))
        down = following in (E.call("sub", i, 1), E.call("add", i, -1))
        start, end = _wide(v.start), _wide(limit)
        if test.op == "lt" and up and not _changes(limit, loop):
            return _Counter(v.name, start, end if v.start == E.const(0, v.start.dtype) else end - start)
        if test.op == "gt" and down and not _changes(limit, loop):
            past = E.const(end.attr.value + 1, int64) if end.op == "const" else end + 1
            return _Counter(v.name, past, start - end)
    return None


def _wide(e: Expr) -> Expr:
    return E.const(e.attr.value, int64) if e.op == "const" else E.cast(e, int64)


def _changes(e: Expr, loop: While) -> bool:
    names = {v.name for v in loop.variables}
    return any(n.op == "temp" and n.attr in names for n in E.walk(e)) or e.op not in ("const", "temp")


class _Splitter:
    def __init__(self, loop: While, counter: _Counter, memory: Memory) -> None:
        self.loop = loop
        self.counter = counter
        self.memory = memory
        self.first = self._plain("first", counter.first)
        self.k = axis("k", atom("value", "trips"))
        self.written = {s.buffer for s in loop.body if isinstance(s, Store)}
        self.dims: dict[str, Dim] = {counter.name: self.first + self.k}  # of integer temps, over the new axis
        self.ready: dict[str, Let] = {}                                  # what the new loop can compute
        self.cost: dict[str, int] = {}
        self.rows: Dim | None = None  # a limit of the iterations: each reads a row of its own of something

    def _plain(self, name: str, value: Expr) -> Dim:
        """A number as it is used in indices."""
        return int(value.attr.value) if value.op == "const" else atom("value", name)

    def split(self) -> list[Stmt]:
        varying = {v.name for v in self.loop.variables} - {self.counter.name}
        for s in self.loop.body:
            if isinstance(s, Let):
                self._visit(s, varying)
            elif not isinstance(s, Store):
                return [self.loop]
        chosen = self._chosen(varying)
        if not chosen or self.rows is None:
            return [self.loop]
        return self._statements(chosen)

    def _visit(self, s: Let, varying: set[str]) -> None:
        """Note whether a value depends on the counter and on unchanging memory alone."""
        nodes = E.walk(s.value)
        index = self._index(s.value)
        if index is not None:
            self.dims[s.name] = index
        new = self._moved(s.value)
        if new is None or any(n.op == "temp" and n.attr in varying for n in nodes):
            varying.add(s.name)
            return
        self.ready[s.name] = Let(s.name, new)
        self.cost[s.name] = E.cost(new)

    def _index(self, e: Expr) -> Dim | None:
        """An integer expression as a function of the new axis."""
        if e.op == "const" and e.dtype.is_integer:
            return int(e.attr.value)
        if e.op == "temp":
            return self.dims.get(e.attr)
        if e.op == "cast" and e.dtype is int64 and e.args[0].dtype.is_integer:
            return self._index(e.args[0])
        if e.op in ("add", "sub"):
            a, b = map(self._index, e.args)
            return None if a is None or b is None else a + b if e.op == "add" else a - b
        return None

    def _moved(self, e: Expr) -> Expr | None:
        """The expression over the new axis; None where it reads memory that changes, or may fail."""
        new: dict[Expr, Expr] = {}
        for n in E.walk(e):
            if E.complaint_of(n) or (n.op == "load" and n.attr[0] in self.written):
                return None
            if n.op == "temp" and n.attr in self.dims:
                new[n] = E.index(self.dims[n.attr], n.dtype)
            elif n.op in ("load", "index"):
                offset = self._offset(n.attr[1] if n.op == "load" else n.attr)
                if offset is None:
                    return None
                args = tuple(new[a] for a in n.args)
                new[n] = E.Expr(n.op, args, n.dtype, (n.attr[0], offset)) if n.op == "load" else \
                    E.index(offset, n.dtype)
                if n.op == "load" and not n.args and coefficient(offset, only_atom(self.k)) == 1:
                    self.rows = self._size(n.attr[0])
            else:
                new[n] = E.Expr(n.op, tuple(new[a] for a in n.args), n.dtype, n.attr) if n.args else n
        return new[e]

    def _offset(self, d: Dim) -> Dim | None:
        names = {a: a.name for a in atoms_of(d) if a.kind == "value"}
        if any(name in self.cost and name not in self.dims for name in names.values()):
            return None  # an index that is itself computed
        return substitute(d, {a: self.dims[name] for a, name in names.items() if name in self.dims})

    def _size(self, buffer: str) -> Dim:
        t = next(t for t, name in self.memory.names.items() if name == buffer)
        return t.type.size if isinstance(t, Tensor) else t.size

    def _chosen(self, varying: set[str]) -> list[str]:
        """The costly values that what remains uses."""
        used = [e for s in self.loop.body if not isinstance(s, Let) or s.name in varying
                for e in ([s.value] if isinstance(s, (Let, Store)) else [])]
        used += [v.following for v in self.loop.variables]
        names = dict.fromkeys(n.attr for e in used for n in E.walk(e) if n.op == "temp")
        return [n for n in names if n in self.ready and n not in self.dims and self._total(n) >= _COSTLY]

    def _total(self, name: str) -> int:
        return sum(self.cost[n] for n in self._closure([name]))

    def _closure(self, roots: list[str]) -> set[str]:
        found: set[str] = set()
        stack = list(roots)
        while stack:
            name = stack.pop()
            if name in self.ready and name not in found:
                found.add(name)
                stack += [n.attr for n in E.walk(self.ready[name].value) if n.op == "temp"]
        return found

    def _statements(self, chosen: list[str]) -> list[Stmt]:
        needed = self._closure(chosen)
        body: list[Stmt] = [self.ready[s.name] for s in self.loop.body
                            if isinstance(s, Let) and s.name in needed]
        assert self.rows is not None
        place: dict[str, Expr] = {}
        i = E.cast(E.temp(self.counter.name, self._dtype()), int64)
        here = Let("at", i if self.first == 0 else i - E.index(self.first))
        for name in chosen:
            value = self.ready[name].value
            scratch = self.memory.name(Scratch(value.dtype, self.rows), write=True)
            body.append(Store(scratch, self.k, E.temp(name, value.dtype)))
            place[name] = E.load(scratch, E.as_offset(E.temp("at", int64)), value.dtype)
        vector = Loop(only_atom(self.k), atom("value", "trips"), tuple(body))
        left = self._left(place)
        before = [Let("first", self.counter.first)] if isinstance(self.first, Poly) else []
        trips = Let("trips", E.maximum(self.counter.trips, 0))
        return [*before, trips, vector, replace(self.loop, body=(here, *left))]

    def _left(self, place: dict[str, Expr]) -> list[Stmt]:
        """The body with loads for what is computed before, and without what that alone used."""
        stmts = [Let(s.name, place[s.name]) if isinstance(s, Let) and s.name in place else s
                 for s in self.loop.body]
        used = {n.attr for v in self.loop.variables for n in E.walk(v.following) if n.op == "temp"}
        kept: list[Stmt] = []
        for s in reversed(stmts):
            if isinstance(s, Let) and s.name not in used and not any(map(E.complaint_of, E.walk(s.value))):
                continue
            kept.append(s)
            assert isinstance(s, (Let, Store))
            offsets = [n.attr[1] if n.op == "load" else n.attr for n in E.walk(s.value)
                       if n.op in ("load", "index")]
            offsets += [s.offset] if isinstance(s, Store) else []
            used |= {n.attr for n in E.walk(s.value) if n.op == "temp"}
            used |= {a.name for d in offsets for a in atoms_of(d) if a.kind == "value"}
        return kept[::-1]

    def _dtype(self) -> DType:
        return next(v.start.dtype for v in self.loop.variables if v.name == self.counter.name)
