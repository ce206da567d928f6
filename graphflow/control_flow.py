"""Loops and conditionals inside a graph: while_loop, cond, case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphflow import nest
from graphflow.basics import graph_of, group, identity
from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import int32
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.source import user_line
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType, as_dims
from graphflow.compiler.ops import control, core, logic
from graphflow.tensor_array import TensorArray

# while_loop


def while_loop(cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any,
               shape_invariants: Any = None, parallel_iterations: int = 10, back_prop: bool = True,
               swap_memory: bool = False, name: str | None = None, maximum_iterations: Any = None,
               return_same_structure: bool = False) -> Any:
    """Repeat `body` while `cond` holds: while cond(*vars): vars = body(*vars).

    loop_vars   tensors, nested in lists, tuples, named tuples and dicts; what the body gives is nested alike
    Shapes:     of each variable the same in all iterations; unknown dims are those of the initial value.
                They may change where `shape_invariants` leave them open: an iteration is then a program of
                its own, as is one of the gradient. But where the loop writes to variables or comes after
                such a write, within another loop or a `cond`, and where second gradients are asked for, the
                condition must depend on fed numbers and sizes alone, and the iterations, 1,000 at most, are
                compiled one by one
    Raises:     ShapeError, DTypeError when the body gives a variable of another shape or dtype
    The result is structured as `loop_vars`, but one variable alone is given without its list (unless
    return_same_structure). A gradient keeps the variables of each iteration; it needs a limit on these:
    a counter compared with a number known when the loop starts, or `maximum_iterations`.
    """
    if not callable(cond) or not callable(body):
        raise TypeError("while_loop: cond and body are functions of the loop variables")
    if not nest.flatten(loop_vars):
        raise ValueError("while_loop: at least one loop variable is needed")
    loop_vars = loop_vars if nest.is_nested(loop_vars) else [loop_vars]
    loop = _Loop(loop_vars, shape_invariants)
    with loop.graph.as_default(), loop.graph.name_scope(name or "while"):
        results = loop.run(cond, body, maximum_iterations)
    if not back_prop:
        results = [core.stop_gradient(t) for t in results]
    packed = loop.packed(results)
    single = len(nest.flatten(loop_vars)) == 1 and not return_same_structure
    return nest.flatten(packed)[0] if single else packed


class _Loop:
    """The loop variables as a flat list of tensors, and back."""

    def __init__(self, loop_vars: Any, shape_invariants: Any) -> None:
        self.structure = loop_vars
        self.leaves = nest.flatten(loop_vars)
        self.graph: Graph = graph_of(self.leaves)
        with self.graph.as_default():
            self.values = [v.flow if isinstance(v, TensorArray) else as_tensor(v) for v in self.leaves]
        self.types = [t.type for t in self.values]
        if shape_invariants is not None:
            nest.assert_same_structure(list(loop_vars), list(shape_invariants), check_types=False)
            shapes = nest.flatten(shape_invariants)
            self.types = [_merged(t, s) for t, s in zip(self.values, shapes, strict=True)]

    def packed(self, tensors: Sequence[Tensor]) -> Any:
        """The tensors in the structure of the loop variables; arrays as arrays."""
        pairs = zip(self.leaves, tensors, strict=True)
        return nest.pack_sequence_as(self.structure, [
            v._with(t) if isinstance(v, TensorArray) else t for v, t in pairs])

    def run(self, cond: Callable[..., Any], body: Callable[..., Any], most: Any) -> list[Tensor]:
        def test(*tensors: Tensor) -> Tensor:
            return as_tensor(cond(*self._arguments(tensors)))

        def step(*tensors: Tensor) -> list[Tensor]:
            return self._flat(body(*self._arguments(tensors)))

        if most is None:
            return list(control.make_loop(test, step, self.values, self.types, self.graph))
        limit = as_tensor(most, int32, for_op="while_loop: maximum_iterations")
        counter = core.literal(0, int32)
        results = control.make_loop(
            lambda i, *tensors: logic.logical_and(i < limit, test(*tensors)),
            lambda i, *tensors: [i + 1, *step(*tensors)],
            [counter, *self.values], [counter.type, *self.types], self.graph)
        return list(results[1:])

    def _arguments(self, tensors: Sequence[Tensor]) -> list[Any]:
        packed = self.packed(tensors)
        return list(packed.values()) if isinstance(packed, Mapping) else list(packed)

    def _flat(self, result: Any) -> list[Tensor]:
        if not nest.is_nested(result):
            result = [result]
        nest.assert_same_structure(list(self.structure), list(result), check_types=False)
        found = nest.flatten(result)
        for k, (v, before) in enumerate(zip(found, self.leaves, strict=True)):
            if isinstance(v, TensorArray) != isinstance(before, TensorArray):
                raise TypeError(f"while_loop: variable {k} is {before!r}, but the body gives {v!r}")
        pairs = zip(found, self.leaves, strict=True)
        self.leaves = [v if isinstance(v, TensorArray) else before for v, before in pairs]
        return [v.flow if isinstance(v, TensorArray) else
                as_tensor(v, t.dtype, for_op="while_loop: a result of the body")
                for v, t in zip(found, self.values, strict=True)]


def _merged(t: Tensor, invariant: Any) -> TensorType:
    """The type of a variable with an invariant: TF1 lets it be less specific than the initial value."""
    dims = as_dims(invariant)
    if not t.shape.is_compatible_with(dims):
        raise ShapeError(f"while_loop: {t.name} is {t.type}, which does not fit the invariant {invariant}")
    return TensorType(t.dtype, dims)


# cond and case


def cond(pred: Any, true_fn: Callable[[], Any] | None = None, false_fn: Callable[[], Any] | None = None,
         strict: bool = False, name: str | None = None, fn1: Callable[[], Any] | None = None,
         fn2: Callable[[], Any] | None = None) -> Any:
    """true_fn() where `pred` holds, else false_fn(). Operations made in the one not chosen do not run.

    Both give tensors of the same dtypes, in structures of one kind; a list of one tensor is given without its
    list (unless strict). Shapes may differ where `pred` is fed, or made of fed numbers and sizes; by another
    `pred` too, unless it changes from one iteration of a loop to the next, but when such a one is not what it
    was in the run before, the run starts again: that takes twice as long.
    An operation among the results stands for its having run.
    Raises:  TypeError for a `pred` that is a Python bool; ValueError when the results differ in structure
    """
    true_fn, false_fn = fn1 if true_fn is None else true_fn, fn2 if false_fn is None else false_fn
    if not callable(true_fn) or not callable(false_fn):
        raise TypeError("cond: true_fn and false_fn are functions without arguments")
    if isinstance(pred, bool):
        raise TypeError("cond: pred is a Python bool: use Python's if, or a tensor")
    graph: Graph = graph_of([pred])
    structures: list[Any] = []

    def branch(fn: Callable[[], Any]) -> Callable[[], list[Tensor]]:
        def run() -> list[Tensor]:
            result = fn()
            if result is None:
                raise ValueError("cond: a branch must give something, but it gave None")
            tensors = [_result(leaf) for leaf in nest.flatten(result)]
            structures.append(nest.pack_sequence_as(result, tensors))
            _check_alike(structures)
            return tensors
        return run

    with graph.as_default(), graph.name_scope(name or "cond"):
        made = control.make_cond(as_tensor(pred), branch(true_fn), branch(false_fn), graph)
    packed = nest.pack_sequence_as(structures[0], list(made.outputs))
    return packed if strict else _without_list(packed)


def _without_list(structure: Any) -> Any:
    """One tensor in a list alone."""
    return structure[0] if isinstance(structure, (list, tuple)) and len(structure) == 1 else structure


def _check_alike(branches: Sequence[Any]) -> None:
    """What the branches made so far give is nested alike."""
    one, other = (_without_list(b) for b in (branches[0], branches[-1]))
    try:
        nest.assert_same_structure(one, other, check_types=False)
    except ValueError:
        texts = (nest.map_structure(lambda t: str(t.type), b) for b in (one, other))
        file, line = user_line()
        raise ShapeError("cond: the branches must give results of one structure, but true_fn gives {} and "
                         "false_fn {}\n  in a cond made at {}:{}".format(*texts, file, line)) from None


def _result(leaf: Any) -> Tensor:
    """A branch's result as a tensor that is computed in the branch."""
    if isinstance(leaf, Operation):
        with leaf.graph.control_dependencies([leaf]):
            return identity(core.literal(True))
    return as_tensor(leaf)


def case(pred_fn_pairs: Any, default: Callable[[], Any] | None = None, exclusive: bool = False,
         strict: bool = False, name: str = "case") -> Any:
    """The function of the first predicate that holds, or `default`; without one, the last pair's function.

    pred_fn_pairs  a list of (predicate, function), or a dict
    """
    pairs = list(pred_fn_pairs.items() if isinstance(pred_fn_pairs, Mapping) else pred_fn_pairs)
    if not all(isinstance(p, (list, tuple)) and len(p) == 2 and callable(p[1]) for p in pairs) or not pairs:
        raise TypeError("case: pairs of a predicate and a function are needed")
    otherwise = pairs.pop()[1] if default is None else default
    for pred, fn in reversed(pairs):
        otherwise = _choice(pred, fn, otherwise, strict, name)
    return otherwise()


def _choice(pred: Any, fn: Callable[[], Any], otherwise: Callable[[], Any], strict: bool,
            name: str) -> Callable[[], Any]:
    return lambda: cond(pred, fn, otherwise, strict, name)


def with_dependencies(dependencies: Sequence[Any], output: Any, name: str | None = None) -> Any:
    """`output`, computed only after `dependencies`."""
    graph: Graph = graph_of([output, *dependencies])
    with graph.control_dependencies(dependencies):
        return group(output, name=name) if isinstance(output, Operation) else identity(output, name=name)
