"""prune: from the user's graph and a fetch signature to a graph of pure operations with decided dims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphflow.compiler.errors import GraphError, InvalidArgumentError, ShapeError, UnsupportedError
from graphflow.compiler.ir.dims import Atom, Dim, Poly, atoms_of, integer, substitute, sym
from graphflow.compiler.ir.dtypes import int32, uint32
from graphflow.compiler.ir.explain import check_dims
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.regions import variables_written, writes_within
from graphflow.compiler.ir.rewrite import ancestors, live_operations
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ir.unify import CompileRules
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.ops.core import cast, program_input, variable
from graphflow.compiler.ops.nn import check_index
from graphflow.compiler.ops.rows import is_open, row_at, row_store, tensor_array
from graphflow.compiler.ops.symbolic import symbolic_value
from graphflow.compiler.passes.prune_regions import prune_region
from graphflow.compiler.program import Symbol
from graphflow.compiler.signature import Signature, Undecided


@dataclass
class Pruned:
    graph: Graph
    symbols: dict[Atom, Symbol]
    guards: list[tuple[Dim, Dim]]
    required: dict[tuple[Dim, Dim], str]
    alone: bool = False  # a write uses locking

    def take_late_assumptions(self, graph: Graph) -> None:
        """Note what infer rules assumed of ops that later passes made: each run checks that too."""
        rules = graph.rules
        assert isinstance(rules, CompileRules)
        if rules.undecided:
            raise Undecided(_atoms_in(rules.undecided) & self.symbols.keys(), self.symbols)
        self.guards += [(Poly({(a,): 1}), d) for a, d in rules.assumed.items()]
        self.required = rules.required | self.required


def prune(signature: Signature) -> Pruned:
    """Keep what the fetches and targets need, with feeds and variables as inputs and effects as values.

    Reads of a variable become its value before the run, or after the last write that must come first; the
    last write is the variable's new value. Random ops take a key. Dims become ints or symbols; two that must
    fit are assumed equal, and the assumption is a guard of the program.

    Example:  fetch loss, train; feed x: f32[?,4]
        %w = variable(w) ; %l = sum(x * %w) ; train = assign_sub(w, %g)
    -->
        graph(x: f32[n0,4], w: f32[4]) -> %l ; w := %s
          %m = mul(x, w) ; %l = sum(%m) ; %s = sub(w, %g)
    """
    pins: dict[Atom, Dim] = {}
    for name, value in signature.pins:
        pins.update(dict.fromkeys(atoms_of(sym(name)) | atoms_of(integer(name)), value))
    assumed: dict[Atom, Dim] = {}
    required: dict[tuple[Dim, Dim], str] = {}
    needed = ancestors(signature.fetches, signature.given, signature.targets)
    while True:
        builder = Pruner(signature, needed, pins | assumed)
        try:
            rules = builder.run()
        except ShapeError:
            doubtful = builder.doubtful()
            if not doubtful:
                raise
            # an assumption may be wrong: with the dims as constants the error is certain, or gone
            raise Undecided(doubtful, builder.symbols) from None
        required.update(rules.required)
        if rules.undecided:
            raise Undecided(_atoms_in(rules.undecided) & builder.symbols.keys(), builder.symbols)
        if not rules.assumed:
            break
        assumed = {a: substitute(d, rules.assumed) for a, d in assumed.items()} | rules.assumed
    known: list[tuple[Dim, Dim]] = [(Poly({(a,): 1}), d) for a, d in (pins | assumed).items()
                                    if a in builder.symbols]
    alone = any(op.use_locking for op in writes_within(needed)) and not signature.asks
    return Pruned(builder.graph, builder.symbols, known, required, alone)


def feed_name(t: Tensor) -> str:
    """What the program's input for a fed tensor is called."""
    return f"{t.op.name}.{t.index}" if t.index else t.op.name


def _atoms_in(pairs: Sequence[tuple[Dim, Dim]]) -> set[Atom]:
    return {a for pair in pairs for d in pair for a in atoms_of(d)}


class Pruner:
    """One walk over the needed operations under a set of assumptions on dims."""

    def __init__(self, signature: Signature, needed: list[Operation], assumed: dict[Atom, Dim]) -> None:
        self.signature = signature
        self.needed = needed
        self.assumed = assumed
        self.rules = CompileRules()
        self.graph = Graph(self.rules)
        self.mapping: dict[Tensor, Tensor] = {}
        self.symbols: dict[Atom, Symbol] = {}
        self.feed_of: dict[Tensor, int] = {}
        self.state: dict[VariableHandle, Tensor] = {}
        self.written: dict[VariableHandle, list[tuple[int, Tensor]]] = {}
        self.random_key: Tensor | None = None
        self.own_bit: dict[Operation, int] = {}
        self.before: dict[Operation, int] = {}  # an operation's own write and those before it, as a bit set
        self.outer: dict[Tensor, Tensor] = {}  # an input of a subgraph -> the tensor that it always is
        self.limits: dict[Tensor, Dim] = {}    # a count of iterations -> what it cannot exceed
        self.wanted: set[Tensor] = set(signature.fetches)
        self.inlined: list[Pruner] = []        # the walks over branches that are part of this graph
        self.whole = self.graph                # the outermost graph
        self.guesses: dict[Tensor, Tensor] = {}  # a computed bool that is guessed -> the check of that
        self.histories: dict[Tensor, list[Tensor]] = {}  # a variable's values in the iterations of a loop

    def run(self) -> CompileRules:
        with self.graph.as_default():
            for k, t in enumerate(self.signature.feeds):
                self._add_feed(k, t)
            self.mapping.update({t: self.history(t, []) for t in self.signature.kept})
            try:
                self.convert_all()
            except _Answer as answer:
                self.graph.outputs = [answer.tensor]
                return self.rules
        self.graph.outputs = [self.mapping[t] for t in self.signature.fetches]
        assert self.histories.keys().isdisjoint(self.graph.outputs), "only stages give histories"
        self.graph.updates = {v: writes[-1][1] for v, writes in self.written.items()}
        self.graph.kept = [*self.guesses.values(), *self.unused_checks()]
        return self.rules

    def doubtful(self) -> set[Atom]:
        """The symbols that something was assumed of."""
        pinned = {name for name, _ in self.signature.pins}
        assumed = {a for a in self.assumed.keys() | self.rules.assumed.keys() if a.name not in pinned}
        return (assumed | _atoms_in(self.rules.undecided)) & self.symbols.keys()

    def unused_checks(self) -> list[Tensor]:
        """What no result depends on, such as a control input, but may find fault with its operands."""
        checks = [p.mapping[t] for p in (self, *self.inlined) for op in p.needed if op.opdef.fails
                  for t in op.outputs]
        if not checks:
            return []
        used = set(live_operations(self.graph))
        return [t for t in checks if t.op not in used]

    def convert_all(self) -> None:
        """Walk over the operations, within `self.graph.as_default()`."""
        self._find_writes_before()
        self.wanted.update(t for op in self.needed for t in (*op.operands, *op.dim_deps))
        for op in self.needed:
            self.graph.origin = op
            self.rules.where = op.location
            outputs = self._convert(op)
            for old, new in zip(op.outputs, outputs, strict=True):
                if new is not None:
                    check_dims(op, [new])
                    self.mapping.setdefault(old, new)  # a fed output keeps its feed
        self.graph.origin = None

    def child(self, graph: Graph) -> Pruner:
        """A walk over a subgraph, under the same assumptions."""
        ops = [op for op in ancestors(graph.outputs) if op.opdef.effect != "input"]
        new = Pruner(self.signature, ops, self.assumed)
        new.rules, new.graph = self.rules, Graph(self.rules)
        new.symbols, new.feed_of, new.outer = self.symbols, self.feed_of, self.outer
        new.limits, new.wanted = self.limits, set(graph.outputs)
        new.whole, new.guesses, new.histories = self.whole, self.guesses, self.histories
        return new

    def _input(self, kind: str, label: str, type: TensorType,
               variable: VariableHandle | None = None) -> Tensor:
        t: Tensor = program_input(kind=kind, label=label, type=type, variable=variable, name=label)
        self.graph.inputs.append(t)
        return t

    def _add_feed(self, k: int, t: Tensor) -> None:
        declared = self.signature.feed_types[k]
        for axis, d in enumerate(declared.known_dims):
            for a in atoms_of(d):
                self.symbols[a] = Symbol(k, axis=axis)
        dims = tuple(substitute(d, self.assumed) for d in declared.known_dims)
        self.graph.origin = t.op
        new = self._input("feed", feed_name(t), TensorType(declared.dtype, dims))
        self.mapping[t] = new
        self.feed_of[new] = k
        if t.op.opdef is variable:
            self.state[t.op.variable] = new  # every read sees what is fed for the variable

    def _find_writes_before(self) -> None:
        writes = [op for op in self.needed if variables_written([op])]
        if not writes:
            return
        self.own_bit = {op: 1 << k for k, op in enumerate(writes)}
        before = self.before
        for op in self.needed:
            mask = self.own_bit.get(op, 0)
            for other in op.dependencies:
                mask |= before.get(other, 0)
            before[op] = mask

    def _convert(self, op: Operation) -> Sequence[Tensor | None]:
        """What stands for the outputs; None for those of a region that nothing asks for."""
        effect = op.opdef.effect
        if all(t in self.mapping for t in op.outputs) and op.outputs:
            return [self.mapping[t] for t in op.outputs]
        if effect == "read":
            return [self._read(op)]
        if effect == "group":
            return ()
        if op.opdef.regions:
            return prune_region(self, op)
        if effect == "input" and op.attrs.get("kind") == "loop":
            raise GraphError(f"{op.location} exists only inside a loop, as does all that is made from it\n"
                             f"hint: return from the loop's body what is to be fetched")
        if effect == "input":
            raise InvalidArgumentError(
                None, op, f"you must feed a value for placeholder {op.name + ':0'!r} ({op.out.type}), "
                          f"made at {op.source[0]}:{op.source[1]}\n"
                          f"hint: pass it in feed_dict={{placeholder: value}}")
        operands = tuple(self.mapping[t] for t in op.operands)
        if any(map(is_open, operands)):
            operands = self._given_shape(op, operands)
        if any(t in self.histories for t in operands):
            return [self._past(op, operands)]
        attrs = self._resolve_attrs(op)
        if op.opdef is tensor_array and attrs["element"] is None:
            return Graph(self.rules).append_copy(op, (), attrs).outputs  # until something is written to it
        scratch = Operation(self.graph, op.opdef, operands, attrs, op.name, op.source)
        if effect == "write":
            return [self._write(op, scratch)]
        if effect == "random":
            assert op.opdef.expand is not None
            scratch.outputs = op.outputs
            return [op.opdef.expand(scratch, self.key())]
        return self.graph.append_copy(op, operands, attrs).outputs

    def _given_shape(self, op: Operation, operands: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The operands of a row's store, with the array shaped by the row."""
        if op.opdef is not row_store or is_open(operands[2]):
            raise InvalidArgumentError(
                None, op, f"{op.location} uses a TensorArray before anything is written to it\n"
                          f"hint: element_shape= tells the shape of its tensors")
        return (self.shaped_array(operands[0], operands[2].type.known_dims), *operands[1:])

    def history(self, like: Tensor, values: list[Tensor]) -> Tensor:
        """What stands for a tensor with a row for each iteration, where these differ in shape."""
        with Graph(self.rules).as_default():
            t: Tensor = program_input(kind="loop", label=like.op.name, type=TensorType(like.dtype, None))
        self.histories[t] = values
        return t

    def _past(self, op: Operation, operands: tuple[Tensor, ...]) -> Tensor:
        """One of the values in a history."""
        index, rows = symbolic_value(operands[1]) if op.opdef is row_at else None, self.histories[operands[0]]
        if index is None or index.item() not in range(len(rows)):
            raise UnsupportedError(f"a loop that changes the shape of a variable has only a first gradient: "
                                   f"{op.location} asks for more")
        found: Tensor = rows[index.item()]
        return found

    def shaped_array(self, t: Tensor, element: Sequence[Dim], size: Dim | None = None) -> Tensor:
        attrs = dict(t.op.attrs, element=tuple(element), size=t.op.size if size is None else size)
        return self.graph.append_copy(t.op, (), attrs).out

    def state_of(self, v: VariableHandle) -> Tensor:
        if v not in self.state:
            self.state[v] = self._input("state", v.name, v.type, v)
        return self.state[v]

    def _read(self, op: Operation) -> Tensor:
        """The value before the run, or after the last write that this read depends on."""
        return self.value_before(op, op.variable)

    def value_before(self, op: Operation, v: VariableHandle) -> Tensor:
        """The value of a variable that an operation sees."""
        earlier = [t for bit, t in self.written.get(v, ()) if bit & self.before.get(op, 0)]
        return earlier[-1] if earlier else self.state_of(v)

    def _write(self, op: Operation, scratch: Operation) -> Tensor:
        v: VariableHandle = op.variable
        writes = self.written.setdefault(v, [])
        assert op.opdef.expand is not None
        before = writes[-1][1] if writes else _Later(self, v)
        value: Tensor = op.opdef.expand(scratch, before)
        self._check_update(op, v, scratch.value)
        writes.append((self.own_bit[op], value))
        return value

    def new_room(self) -> Poly:
        """A number of rows that the run guesses."""
        room = sym(f"room{len(self.symbols)}")
        (a,) = atoms_of(room)
        self.symbols[a] = Symbol(-1)
        return room

    def fill_room(self, room: Poly, checks: tuple[str, ...]) -> None:
        """Note what fails when the guess was too low."""
        (a,) = atoms_of(room)
        self.symbols[a] = Symbol(-1, room=checks)

    def note_write(self, op: Operation, v: VariableHandle, value: Tensor) -> None:
        self.written.setdefault(v, []).append((self.own_bit[op], value))

    def _check_update(self, op: Operation, v: VariableHandle, value: Tensor) -> None:
        try:
            if len(value.type.known_dims) != len(v.type.known_dims):
                raise ValueError
            for a, b in zip(value.type.known_dims, v.type.known_dims, strict=True):
                self.rules.equal(a, b)
        except ValueError:
            raise ShapeError(f"{op.name!r} (made at {op.source[0]}:{op.source[1]}) gives {value.type} "
                             f"to variable {v.name!r}, which is {v.type}") from None

    def key(self) -> Tensor:
        if self.random_key is None:
            self.random_key = self._input("rng", "random_key", TensorType(uint32, (4,)))
        return self.random_key

    # Dims in attributes

    def _resolve_attrs(self, op: Operation) -> dict[str, Any]:
        if not op.opdef.dim_attrs:
            return op.attrs
        attrs = dict(op.attrs)
        for key in op.opdef.dim_attrs:
            attrs[key] = self._resolve(op, attrs[key])
        return attrs

    def _resolve(self, op: Operation, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self._resolve(op, v) for v in value)
        if isinstance(value, Tensor):
            found = symbolic_value(self.mapping[value])
            if found is None:
                raise _computed_shape(op, value)
            return tuple(self.decided(op, d) for d in found.ravel())
        if isinstance(value, Poly):
            atoms = {a: self._atom_value(op, a) for a in atoms_of(value) if a.kind in ("dim", "elem")}
            return substitute(value, atoms)
        return value

    def _atom_value(self, op: Operation, a: Atom) -> Dim:
        t, k = a.payload
        new = self.mapping[t]
        if a.kind == "dim":
            dim: Dim = new.type.known_dims[k]
            return dim
        found = symbolic_value(new)
        if found is None:
            raise _computed_shape(op, t)
        return self.decided(op, found.ravel()[k])

    def decided(self, op: Operation, dim: Any) -> Dim:
        """A dim in which elements of integer feeds have become symbols of the program."""
        if not isinstance(dim, Poly):
            return int(dim)
        values: dict[Atom, Dim] = {}
        for a in atoms_of(dim):
            if a.kind == "elem":
                t, k = a.payload
                if t in self.outer:
                    values[a] = self._outside(op, t, k)
                    continue
                if t not in self.feed_of:
                    raise _computed_shape(op, t)
                values[a] = self.fed_number(t, k)
        return substitute(dim, values)

    def fed_number(self, t: Tensor, k: int) -> Dim:
        """Element k of a fed tensor, as a run-time integer of the program."""
        new = integer(f"{t.op.name}[{k}]")
        (symbol,) = atoms_of(new)
        self.symbols[symbol] = Symbol(self.feed_of[t], element=k)
        return substitute(new, self.assumed)

    def is_guessed(self, t: Tensor) -> bool:
        """Whether the value of a computed bool is taken for known."""
        return isinstance(substitute(integer(t.name), self.assumed), int)

    def guess(self, t: Tensor) -> Dim:
        """The value of a computed bool as a run-time integer; once that is known, the program checks it."""
        if self.signature.asks == t.name:
            raise _Answer(t)
        (symbol,) = atoms_of(integer(t.name))
        value = substitute(integer(t.name), self.assumed)
        if isinstance(value, int) and t not in self.guesses:
            with self.whole.as_default():
                self.guesses[t] = check_index(cast(t, dtype=int32) - value, extent=1, what=t.name)
        check = self.guesses.get(t)
        self.symbols[symbol] = Symbol(-1, guess=t.name if check is None else f"{check.op.location}: {t.name}")
        return value

    def make_constant(self, dims: Sequence[Dim]) -> None:
        """Have the compilation start again with these dims as constants; raises Undecided."""
        raise Undecided({a for d in dims for a in atoms_of(d)} & self.symbols.keys(), self.symbols)

    def _outside(self, op: Operation, t: Tensor, k: int) -> Dim:
        """An element of what a subgraph captures, by the graph around it."""
        found = symbolic_value(self.outer[t])
        if found is None:
            raise _computed_shape(op, t)
        return self.decided(op, found.ravel()[k])


class _Answer(Exception):
    """The walk has come to what it is asked for."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(tensor.name)
        self.tensor = tensor


class _Later:
    """A variable's value before the run, made an input of the program only if it is used."""

    def __init__(self, pruner: Pruner, variable: VariableHandle) -> None:
        self._pruner = pruner
        self._variable = variable

    def _as_tensor(self) -> Tensor:
        return self._pruner.state_of(self._variable)

    def __add__(self, other: Tensor) -> Tensor:
        return self._as_tensor() + other

    def __sub__(self, other: Tensor) -> Tensor:
        return self._as_tensor() - other


def _computed_shape(op: Operation, t: Tensor) -> UnsupportedError:
    return UnsupportedError(
        f"the shape of {op.name!r} (made at {op.source[0]}:{op.source[1]}) depends on the computed value of "
        f"{t.name!r}; shapes may depend on shapes and on fed integers\n"
        f"hint: compute {t.name!r} first and feed it")
