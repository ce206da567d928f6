"""prune, for loops and conditionals: their subgraphs with decided dims, and effects as values.

A variable that is written inside, and the key of random ops, become loop variables. What a gradient asks of
the values before each iteration becomes a tensor with a row for each, written as the loop runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphflow.compiler.errors import ShapeError, UnsupportedError
from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import int32
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.regions import effects_of, variables_written
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.control import cond as cond_op
from graphflow.compiler.ops.control import while_loop
from graphflow.compiler.ops.core import constant, literal, program_input
from graphflow.compiler.ops.loop_gradient import counter_step
from graphflow.compiler.ops.random import STEP_SEED, random_bits
from graphflow.compiler.ops.rows import blank, is_open, row_at, row_store
from graphflow.compiler.ops.symbolic import symbolic_value
from graphflow.compiler.passes.choices import Choice
from graphflow.compiler.passes.leaving import may_leave
from graphflow.compiler.signature import Growing

if TYPE_CHECKING:
    from graphflow.compiler.passes.prune import Pruner

_MOST_UNROLLED = 1000


def prune_region(pruner: Pruner, op: Operation) -> Sequence[Tensor | None]:
    """What stands for the outputs of a loop or conditional."""
    return _Loop(pruner, op).outputs() if op.opdef is while_loop else _conditional(pruner, op)


class _Region:
    """What loops and conditionals have in common: operands as pruned, and variables written inside."""

    def __init__(self, pruner: Pruner, op: Operation, skip: int) -> None:
        self.pruner = pruner
        self.op = op
        operands = [pruner.mapping[t] for t in op.operands]
        self.leading, self.captured = operands[:skip], operands[skip:]
        self.variables = variables_written([op])
        self.captured = [pruner.shaped_array(t, ()) if is_open(t) else t for t in self.captured]
        self.states = [pruner.value_before(op, v) for v in self.variables]
        self.key = [pruner.key()] if "random" in effects_of(op) else []
        self.replays: int | None = None

    def enter(self, graph: Graph, carried: Sequence[Tensor]) -> Pruner:
        """The walk over a subgraph: inputs for the first operands, for `carried`, for what is captured."""
        child, given = self.pruner.child(graph), len(self.leading)
        with child.graph.as_default():
            inputs = [_input(child.graph, t) for t in (*self.leading, *carried, *self.captured)]
            first = len(inputs) - len(self.captured)
            child.mapping.update(zip(graph.inputs, (*inputs[:given], *inputs[first:]), strict=True))
            child.outer.update(zip(inputs[first:], self.captured, strict=True))
            states = inputs[given:given + len(self.variables)]
            child.state = dict(zip(self.variables, states, strict=True))
            if self.key:
                child.random_key = inputs[given + len(self.variables)]
            if self.replays is not None and graph is self.op.body:
                child.random_key = row_at(inputs[first + self.replays - given], inputs[0] - 1, checked=False)
            child.convert_all()
        child.graph.outputs = [child.mapping[t] for t in graph.outputs]
        child.graph.kept = child.unused_checks()
        return child

    def new_states(self, child: Pruner) -> list[Tensor]:
        return [child.written[v][-1][1] if v in child.written else child.state[v] for v in self.variables]

    def note_writes(self, results: Sequence[Tensor]) -> None:
        for v, t in zip(self.variables, results, strict=True):
            self.pruner.note_write(self.op, v, t)


def _input(graph: Graph, like: Tensor) -> Tensor:
    """An entry for a tensor; an array without a shape of its elements stands for itself, to be given one."""
    t: Tensor = graph.append_copy(like.op, ()).out if is_open(like) else program_input(
        kind="loop", label=like.op.name, type=like.type, name=like.op.name)
    graph.inputs.append(t)
    return t


def _as_number(t: Tensor) -> Tensor:
    """The literal that an integer scalar is, where that is known."""
    value = symbolic_value(t) if t.type.dims == () else None
    return literal(value.item(), t.dtype) if value is not None and isinstance(value.item(), int) else t


class _Loop(_Region):
    def __init__(self, pruner: Pruner, op: Operation) -> None:
        super().__init__(pruner, op, op.count)
        if op.replays is not None:
            self.replays, self.key = op.replays, []
        self.extra = [*self.states, *self.key]
        if any(map(is_open, self.leading)):
            self._give_shapes()

    def _give_shapes(self) -> None:
        """Arrays that are first written in the loop get the shape that the body gives them."""
        body = self.enter(self.op.body, self.extra).graph
        for k, t in enumerate(self.leading):
            if is_open(t):
                after = body.outputs[k]
                element = () if is_open(after) else after.type.known_dims[1:]
                size = D.maximum(t.op.size, self._all_trips(body)) if t.op.grows else t.op.size
                self.leading[k] = self.pruner.shaped_array(t, element, size)

    def _all_trips(self, body: Graph) -> Dim:
        """The number of iterations, of a loop that runs until a counter reaches a limit."""
        test = self.enter(self.op.cond, self.extra).graph
        most = None if test.outputs[0].op.opdef.name == "logical_and" else self._most_trips(test, body)
        if most is None:
            raise UnsupportedError(
                f"a TensorArray with dynamic_size grows in {self.op.location}, whose number of iterations is "
                f"not known when it starts\nhint: give the array a size, and take the part that was written")
        return most

    def outputs(self) -> list[Tensor | None]:
        """The loop's last values, then rows and the number of iterations where something asks for them."""
        op, n = self.op, self.op.count
        if any(t in self.pruner.histories for t in self.captured):
            self._leave_to_stages()
            return self._unrolled()
        try:
            test, body = self.enter(op.cond, self.extra), self.enter(op.body, self.extra)
        except UnsupportedError:  # such as a loop within, the number of whose iterations changes
            self._leave_to_stages()
            raise
        except ShapeError as e:  # such as branches that differ in shape, by what the iteration computes
            if e.op is not None and e.op.opdef is cond_op and not self.pruner.doubtful():
                self._leave_to_stages()
            raise
        keys = [] if body.random_key is None else [body.random_key]
        rows = [*body.graph.outputs[n:], *body.graph.inputs[:n], *keys]
        body.graph.outputs[n:] = [*self.new_states(body), *self._next_key(body)]
        if not self._keeps_types(body.graph):
            self._leave_to_stages()
            return self._unrolled()
        asked = [k for k in range(len(rows)) if op.outputs[n + k] in self.pruner.wanted]
        counts = bool(asked) or op.outputs[-1] in self.pruner.wanted
        most = self._most_trips(test.graph, body.graph) if counts else None
        counter = self._counter(test.graph, body.graph) if counts else 0
        kept: list[int] = []
        if asked:
            kept, most = self._keep(test.graph, body.graph, [rows[k] for k in asked], counter, most)
        operands = (*self.leading, *self.extra, *self.captured)
        attrs = {"cond": test.graph, "body": body.graph, "count": len(self.leading) + len(self.extra),
                 "history": False}
        made = self.pruner.graph.create(while_loop, operands, attrs, op.name).outputs
        self.note_writes(made[n:n + len(self.variables)])
        if most is not None:
            self.pruner.limits[made[counter]] = most
        of_row = dict(zip(asked, (made[k] for k in kept), strict=True))
        trips = made[counter] if counts else None
        return [*made[:n], *map(of_row.get, range(len(op.outputs) - n - 1)), trips]

    def _leave_to_stages(self) -> None:
        """Have stages run this loop, if they can."""
        if may_leave(self.pruner, self.op):
            raise Growing(self.pruner.signature, self.op)

    def _keeps_types(self, body: Graph) -> bool:
        try:
            for before, after in zip(body.inputs, body.outputs, strict=False):
                for a, b in zip(before.type.known_dims, after.type.known_dims, strict=True):
                    body.rules.equal(a, b)
        except ValueError:
            return False
        return True

    def _unrolled(self) -> list[Tensor | None]:
        """The iterations one by one: of a loop in which a variable changes its shape, and of its gradient.

        How many there are must be known when the program is compiled.
        """
        op, pruner, n = self.op, self.pruner, self.op.count
        captured, values = self.captured, self.leading
        rows: list[list[Tensor]] = [[] for _ in op.outputs[n:-1]]
        for trips in range(_MOST_UNROLLED + 1):
            self.captured = [*values, *captured]
            (test,), _ = _inlined(self, op.cond)
            choice = Choice(pruner, op, test)
            if not choice.is_made:
                choice.make()
                raise self._unsupported("must tell by fed numbers and by sizes when it ends")
            if not choice.value():
                self.note_writes(self.states)
                return [*values, *map(pruner.history, op.outputs[n:-1], rows), literal(trips, int32)]
            self.key = self.key if self.replays is None else [self._replayed(values[0])]
            key = self.key
            results, walk = _inlined(self, op.body)
            for kept, t in zip(rows, (*results[n:], *values, *key), strict=False):
                kept.append(t)
            values, self.key = [_as_number(t) for t in results[:n]], self._next_key(walk)
        raise self._unsupported(f"has more than {_MOST_UNROLLED} iterations")

    def _replayed(self, left: Tensor) -> Tensor:
        """The key of an iteration that draws numbers again."""
        assert self.replays is not None
        keys, past = self.captured[self.replays], symbolic_value(left)
        if keys in self.pruner.histories and past is not None:
            key: Tensor = self.pruner.histories[keys][past.item() - 1]
        else:
            key = row_at(keys, left - 1, checked=False)
        return key

    def _unsupported(self, why: str) -> UnsupportedError:
        return UnsupportedError(
            f"a loop that changes the shape of a variable {why}: {self.op.location}\n"
            f"hint: write to a tensor (or tf.TensorArray) that is large enough from the start")

    def _next_key(self, body: Pruner) -> list[Tensor]:
        """The key of the next iteration: the words of the run change, by random bits of themselves."""
        if not self.key:
            return []
        key = body.random_key
        assert key is not None
        with body.graph.as_default():
            bits = random_bits(key, shape=(2,), seed=STEP_SEED)
            return [REGISTRY["concat"](REGISTRY["slice"](key, begin=(0,), size=(2,)), bits, axis=0)]

    # Counting and keeping

    def _counter(self, test: Graph, body: Graph) -> int:
        """The variable that counts iterations from 0; added if there is none."""
        for k, t in enumerate(self.leading):
            value = t.op.value.array if t.op.opdef is constant else None
            if value is not None and t.dtype is int32 and value.shape == () and value == 0 and \
                    counter_step(body.inputs[k], body.outputs[k]) == 1:
                return k
        (entry,) = self._add([literal(0, int32)], test, body)
        with body.as_default():
            body.outputs.append(entry + literal(1, int32))
        return len(self.leading) + len(self.extra) - 1

    def _keep(self, test: Graph, body: Graph, rows: Sequence[Tensor], counter: int,
              most: Dim | None) -> tuple[list[int], Dim]:
        """Add a variable with a row per iteration for each of these values; gives their numbers.

        Where no limit is known, the run starts again with more room when there are too many iterations.
        """
        room = self.pruner.new_room() if most is None else None
        most = most if room is None else room
        assert most is not None
        first = len(self.leading) + len(self.extra)
        with self.pruner.graph.as_default():
            starts = [blank(dtype=t.dtype, dims=(most, *t.type.known_dims)) for t in rows]
        entries = self._add(starts, test, body)
        with body.as_default():
            stored = [row_store(e, body.inputs[counter], t, checked=room is not None,
                                name=f"{self.op.name}/rows{len(self.pruner.symbols)}")
                      for e, t in zip(entries, rows, strict=True)]
        body.outputs += stored
        if room is not None:
            self.pruner.fill_room(room, tuple(t.op.location for t in stored))
        return list(range(first, first + len(rows))), most

    def _add(self, starts: Sequence[Tensor], test: Graph, body: Graph) -> list[Tensor]:
        """New loop variables; gives their entries in the body."""
        at = len(self.leading) + len(self.extra)
        entries = []
        for graph in (test, body):
            with graph.as_default():
                entries = [_input(graph, t) for t in starts]
            new = len(starts)
            graph.inputs[at:] = graph.inputs[-new:] + graph.inputs[at:-new]
        self.extra += starts
        return entries

    def _most_trips(self, test: Graph, body: Graph) -> Dim | None:
        """A limit on the iterations: from a counter that the condition compares with something constant."""
        found: list[Dim] = []
        stack = [test.outputs[0]]
        while stack:
            op = stack.pop().op
            if op.opdef.name in ("logical_and", "identity"):
                stack += op.operands
            elif op.opdef.name in ("less", "less_equal", "greater", "greater_equal"):
                low, high = op.operands if op.opdef.name.startswith("less") else op.operands[::-1]
                most = self._between(low, high, op.opdef.name.endswith("equal"), test, body)
                found += [] if most is None else [most]
        return next((d for d in found if isinstance(d, int)), found[0] if found else None)

    def _between(self, low: Tensor, high: Tensor, closed: bool, test: Graph, body: Graph) -> Dim | None:
        """How often a counter can step before low < high (or <=) fails."""
        for counter, sign in ((low, 1), (high, -1)):
            k = test.inputs.index(counter) if counter in test.inputs else len(self.leading)
            step = counter_step(body.inputs[k], body.outputs[k]) if k < len(self.leading) else None
            if step is not None and step * sign > 0:
                first, last = self.leading[k], high if sign > 0 else low
                top = self._limit(last if sign > 0 else first)
                bottom = self._known(first if sign > 0 else last)
                if top is None or bottom is None:
                    return None
                way = top - bottom + (1 if closed else 0)
                return D.maximum((way + abs(step) - 1) // abs(step), 0)
        return None

    def _limit(self, t: Tensor) -> Dim | None:
        """What an integer scalar cannot exceed."""
        while t in self.pruner.outer:
            t = self.pruner.outer[t]
        known = self.pruner.limits.get(t)
        return self._known(t) if known is None else known

    def _known(self, t: Tensor) -> Dim | None:
        """The value of an integer scalar, by dims and fed integers."""
        value = symbolic_value(t)
        if value is None or value.size != 1:
            return None
        try:
            return self.pruner.decided(self.op, value.ravel()[0])
        except UnsupportedError:
            return None


def _conditional(pruner: Pruner, op: Operation) -> Sequence[Tensor | None]:
    """Both branches; a variable written in one of them is a result of both."""
    region = _Region(pruner, op, 1)
    pred = region.leading.pop()
    choice = Choice(pruner, op, pred)
    if choice.is_made:
        results, _ = _inlined(region, op.then if choice.value() else op.otherwise)
        region.note_writes(region.states)
        return results
    try:
        branches = [_branch(region, graph) for graph in (op.then, op.otherwise)]
        if any(a.type != b.type for a, b in zip(*(g.outputs for g in branches), strict=True)):
            choice.make()  # else they are taken for equal
        operands = (pred, *region.states, *region.key, *region.captured)
        attrs = {"then": branches[0], "otherwise": branches[1]}
        made: Any = pruner.graph.create(cond_op, operands, attrs, op.name)
    except ShapeError:
        choice.make(guess=True)
        raise
    region.note_writes(made.outputs[len(op.outputs):])
    return made.outputs[:len(op.outputs)]  # type: ignore[no-any-return]


def _branch(region: _Region, graph: Graph) -> Graph:
    child = region.enter(graph, [*region.states, *region.key])
    child.graph.outputs += region.new_states(child)
    return child.graph


def _inlined(region: _Region, graph: Graph) -> tuple[list[Tensor], Pruner]:
    """A subgraph as a part of the graph around it; the region's variables are those after it."""
    pruner = region.pruner
    child = pruner.child(graph)
    child.graph, child.outer = pruner.graph, pruner.outer
    child.mapping.update(zip(graph.inputs, region.captured, strict=True))
    child.state = dict(zip(region.variables, region.states, strict=True))
    child.random_key = next(iter(region.key), None)
    child.convert_all()
    pruner.inlined.append(child)
    region.states = region.new_states(child)
    return [child.mapping[t] for t in graph.outputs], child
