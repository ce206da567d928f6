"""Graph and Operation. A user's graph is append-only; compiler passes build new graphs, never mutate one."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from graphflow.compiler.errors import GraphError, close_to
from graphflow.compiler.ir.dims import Poly, atoms_of
from graphflow.compiler.ir.explain import check_dims
from graphflow.compiler.ir.source import Source, user_line
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ir.unify import DimRules

if TYPE_CHECKING:
    from graphflow.compiler.ir.opdef import OpDef

_NODE_NAME, _SCOPE_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\-/]*"), re.compile(r"[A-Za-z0-9_.\-/]*")
_NAME_RULE = "letters, digits, '.', and after the first character '_', '-' and '/' too"


class Operation:
    """One node: an op record applied to operand tensors, with attributes.

    Operands and attributes are also reachable by name (`op.a`, `op.axis`), which is how gradient rules read.
    """

    __slots__ = ("graph", "id", "name", "opdef", "operands", "attrs", "control_inputs", "outputs", "source",
                 "device", "dim_deps")

    def __init__(self, graph: Graph, opdef: OpDef, operands: tuple[Tensor, ...], attrs: dict[str, Any],
                 name: str, source: Source) -> None:
        self.graph = graph
        self.id = -1
        self.name = name
        self.opdef = opdef
        self.operands = operands
        self.attrs = attrs
        self.source = source
        self.control_inputs: tuple[Operation, ...] = ()
        self.outputs: tuple[Tensor, ...] = ()
        self.device = ""
        self.dim_deps = _dim_deps(attrs, opdef.dim_attrs) if opdef.dim_attrs else ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        params = self.opdef.params
        if name in params:
            return self.operands[params.index(name)]
        if name in self.attrs:
            return self.attrs[name]
        raise AttributeError(f"operation {self.name!r} ({self.opdef.name}) has no operand "
                             f"or attribute {name!r}")

    @property
    def type(self) -> str:
        """The TF1 type name, such as "MatMul"."""
        return self.opdef.tf_name

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.operands

    @property
    def out(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    @property
    def dependencies(self) -> Iterator[Operation]:
        """Every operation that must come before: operands, control inputs, and tensors that give a dim."""
        for t in self.operands:
            yield t.op
        yield from self.control_inputs
        for t in self.dim_deps:
            yield t.op

    @property
    def location(self) -> str:
        """The name and the user's line, for error texts."""
        return f"{self.name!r} (made at {self.source[0]}:{self.source[1]})"

    def get_attr(self, name: str) -> Any:
        return self.attrs[name]

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Run this operation in `session`, or in the default session."""
        default_session(session, self.graph).run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<tf.Operation '{self.name}' type={self.type}>"


def _dim_deps(attrs: dict[str, Any], dim_attrs: Iterable[str]) -> tuple[Tensor, ...]:
    """The tensors whose shape or value an attribute such as shape=[n, 10] refers to."""
    found: dict[Tensor, None] = {}
    left = [attrs.get(key) for key in reversed(tuple(dim_attrs))]
    while left:
        value = left.pop()
        if isinstance(value, tuple):
            left.extend(reversed(value))
        elif isinstance(value, Tensor):
            found[value] = None
        elif isinstance(value, Poly):
            found.update((t, None) for t in tensors_in(value))
    return tuple(found)


def tensors_in(dim: Poly) -> Iterator[Tensor]:
    for a in atoms_of(dim):
        if a.kind in ("dim", "elem"):
            yield a.payload[0]


def _outputs(op: Operation, types: TensorType | Sequence[TensorType]) -> tuple[Tensor, ...]:
    if isinstance(types, TensorType):
        return (Tensor(op, 0, types),)
    return tuple([Tensor(op, i, t) for i, t in enumerate(types)])


class _Line(NamedTuple):
    """A line of the user's, for operations that stem from no other."""

    source: Source
    name: str = ""


class Graph:
    """Operations in creation order, which is always a topological order.

    `inputs`, `outputs` and `updates` are used inside the compiler: the tensors that a program takes and
    gives, and the new value of each variable that it writes; `kept` are tensors that nothing uses, but that
    are computed because that may fail.
    """

    def __init__(self, rules: DimRules | None = None) -> None:
        self.operations: list[Operation] = []
        self.rules = rules or DimRules()
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.updates: dict[Any, Tensor] = {}
        self.kept: list[Tensor] = []
        self.seed: int | None = None
        self.collections: dict[Any, list[Any]] = {}
        self.origin: Operation | _Line | None = None  # what new operations stem from, where it is known
        self.finalized = False
        self._by_name: dict[str, Operation] = {}
        self._name_counts: dict[str, int] = {}
        self._scope = ""
        self._controls: list[list[Operation] | None] = []
        self._devices: list[str] = []
        self._regions = 0
        self._lock = threading.RLock()

    # Building

    def create(self, opdef: OpDef, operands: tuple[Tensor, ...], attrs: dict[str, Any],
               name: str | None = None, source: Source | None = None) -> Operation:
        """Append an operation, inferring its output types.

        Raises:  ShapeError or DTypeError, with the user's line
        """
        for t in operands:
            if t.op.graph is not self:
                raise GraphError(f"{t!r} belongs to another graph than the one being built: make both within "
                                 f"the same `with graph.as_default():`")
        if self.finalized:
            raise GraphError("the graph is finalized: no operation can be added to it")
        stem = self.origin
        source = source or (stem.source if stem else user_line())
        name = name or opdef.tf_name
        if stem and opdef.effect != "input" and not name.startswith(stem.name):
            name = f"{stem.name}/{name}"
        op = Operation(self, opdef, operands, attrs, name, source)
        op.outputs = _outputs(op, opdef.infer(op))
        if opdef.dim_attrs:
            check_dims(op, op.outputs)
        with self._lock:
            op.name = self._scoped(op.name)
            self._append(op)
            self._by_name[op.name] = op
        if self._controls:
            op.control_inputs = self._current_controls(op)
        if self._devices:
            op.device = self._devices[-1]
        return op

    def append_copy(self, op: Operation, operands: tuple[Tensor, ...], attrs: dict[str, Any] | None = None,
                    types: tuple[TensorType, ...] | None = None) -> Operation:
        """A pass's way to keep an operation on new operands; infers types again unless they are given."""
        new = Operation(self, op.opdef, operands, op.attrs if attrs is None else attrs, op.name, op.source)
        new.outputs = _outputs(new, op.opdef.infer(new) if types is None else types)
        self._append(new)
        return new

    def _append(self, op: Operation) -> None:
        op.id = len(self.operations)
        self.operations.append(op)

    @contextmanager
    def from_line(self, line: Source) -> Iterator[None]:
        """All operations made within stem from this line, which is not looked up for each of them."""
        before = self.origin
        self.origin = before or _Line(line)
        try:
            yield
        finally:
            self.origin = before

    # Names

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """`name`, or name_1, name_2, ...: the first that is free in this graph (compared without case)."""
        key = name.lower()
        count = self._name_counts.get(key, 0)
        if count == 0:
            if mark_as_used:
                self._name_counts[key] = 1
            return name
        while f"{key}_{count}" in self._name_counts:
            count += 1
        if mark_as_used:
            self._name_counts[key] = count + 1
            self._name_counts[f"{key}_{count}"] = 1
        return f"{name}_{count}"

    def _scoped(self, name: str) -> str:
        again = name.endswith("/")
        full = name[:-1] if again else self._scope + name
        is_known = full.lower() in self._name_counts  # and so a valid name
        if not is_known and not _NODE_NAME.fullmatch(full):
            raise GraphError(f"{full!r} is not a valid node name: {_NAME_RULE}")
        return full if again else self.unique_name(full)

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Prefix names with `name/`; a name that ends in "/" re-enters that scope, None or "" leaves all."""
        before = self._scope
        if name and not (_SCOPE_NAME if before else _NODE_NAME).fullmatch(name):
            raise GraphError(f"{name!r} is not a valid scope name: {_NAME_RULE}")
        if not name:
            self._scope = ""
        elif name.endswith("/"):
            self._scope = name
        else:
            self._scope = self.unique_name(before + name) + "/"
        try:
            yield self._scope
        finally:
            self._scope = before

    @property
    def current_scope(self) -> str:
        """The name prefix in force, "" or ending in "/"."""
        return self._scope

    def get_operations(self) -> list[Operation]:
        return list(self.operations)

    def get_operation_by_name(self, name: str) -> Operation:
        found = self._by_name.get(name)
        if found is None:
            near = close_to(name, list(self._by_name)[-10_000:])
            raise GraphError(f"the graph has no operation named {name!r}{near}")
        return found

    def get_tensor_by_name(self, name: str) -> Tensor:
        head, _, index = name.rpartition(":")
        if not head or not index.isdigit():
            raise GraphError(f"{name!r} is not a tensor name: it wants the form 'op_name:0'")
        op = self.get_operation_by_name(head)
        if int(index) >= len(op.outputs):
            raise GraphError(f"operation {head!r} has {len(op.outputs)} outputs, so there is no {name!r}")
        return op.outputs[int(index)]

    def as_graph_element(self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Any:
        """The Tensor or Operation for an object of this graph or its name; GraphError when there is none."""
        if isinstance(obj, str):
            return self.get_tensor_by_name(obj) if ":" in obj else self.get_operation_by_name(obj)
        convert = getattr(obj, "_as_graph_element", None)
        obj = convert() if convert else obj
        if (isinstance(obj, Tensor) and allow_tensor) or (isinstance(obj, Operation) and allow_operation):
            if obj.graph is not self:
                raise GraphError(f"{obj!r} is not an element of this graph: it was made in another one")
            return obj
        raise TypeError(f"{obj!r} (a {type(obj).__name__}) is no tensor, operation or name of one")

    # Scopes

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Make this the graph that new operations go to."""
        _STACKS.graphs.append(self)
        try:
            yield self
        finally:
            stack = _STACKS.graphs  # the innermost entry of this graph: it may be entered twice
            del stack[len(stack) - 1 - stack[::-1].index(self)]

    @contextmanager
    def control_dependencies(self, control_inputs: Iterable[Any] | None) -> Iterator[None]:
        """Operations made inside run after `control_inputs`; None drops the dependencies of outer scopes."""
        ops: list[Operation] | None = None
        if control_inputs is not None:
            elements = [self.as_graph_element(c) for c in control_inputs]
            ops = [e.op if isinstance(e, Tensor) else e for e in elements]
        self._controls.append(ops)
        try:
            yield
        finally:
            self._controls.pop()

    @property
    def has_controls(self) -> bool:
        return any(self._controls) or self._regions > 0

    def _current_controls(self, op: Operation) -> tuple[Operation, ...]:
        found: dict[Operation, None] = {}
        for scope in self._controls:
            if scope is None:
                found.clear()
            else:
                found.update((c, None) for c in scope)
        return tuple(c for c in found if c.id < op.id)

    @contextmanager
    def region(self) -> Iterator[None]:
        """Operations made inside are for a subgraph: each use of a variable there is a read of its own."""
        self._regions += 1
        try:
            yield
        finally:
            self._regions -= 1

    @contextmanager
    def device(self, name: Any) -> Iterator[None]:
        """Note the device asked for on operations made inside; a function is given the operation's scope."""
        self._devices.append(str(name) if not callable(name) and name is not None else "")
        try:
            yield
        finally:
            self._devices.pop()

    def finalize(self) -> None:
        """Make the graph read-only."""
        self.finalized = True

    # Collections

    def add_to_collection(self, name: Any, value: Any) -> None:
        self.collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        for name in (names,) if isinstance(names, str) else dict.fromkeys(names):
            self.add_to_collection(name, value)

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """A copy of the collection; with `scope`, a regex, only items whose name starts with a match."""
        items = self.collections.get(name, [])
        if not scope:
            return list(items)
        pattern = re.compile(scope)
        return [i for i in items if hasattr(i, "name") and pattern.match(i.name)]

    def get_collection_ref(self, name: Any) -> list[Any]:
        return self.collections.setdefault(name, [])

    def clear_collection(self, name: Any) -> None:
        self.collections.pop(name, None)

    def get_all_collection_keys(self) -> list[Any]:
        return [k for k, v in self.collections.items() if v and isinstance(k, str)]

    def __str__(self) -> str:
        from graphflow.compiler.ir.text import print_graph

        return print_graph(self)


class _Stacks(threading.local):
    """What is in force in this thread: entered graphs and sessions."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.sessions: list[Any] = []


_STACKS = _Stacks()
_GLOBAL: list[Graph] = [Graph()]


def get_default_graph() -> Graph:
    """The graph that new operations go to: the innermost `as_default`, else the process-wide one."""
    return _STACKS.graphs[-1] if _STACKS.graphs else _GLOBAL[0]


def reset_default_graph() -> None:
    """Replace the process-wide default graph by an empty one; an error inside `with graph.as_default():`."""
    if _STACKS.graphs:
        raise GraphError("reset_default_graph() inside `with graph.as_default():` would change nothing: "
                         "call it outside")
    _GLOBAL[0] = Graph()


def session_stack() -> list[Any]:
    return _STACKS.sessions


def default_session(session: Any, graph: Graph) -> Any:
    """`session`, or the innermost default one; ValueError when there is none or it has another graph."""
    session = session or (_STACKS.sessions[-1] if _STACKS.sessions else None)
    if session is None:
        raise GraphError("no default session: use `with tf.Session():` or pass session=")
    if session.graph is not graph:
        raise GraphError("the session in force has another graph than this tensor or operation")
    return session
