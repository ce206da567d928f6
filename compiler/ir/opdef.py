"""OpDef: the one record that says all about an op. Calling a record adds an operation to the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.errors import GraphError, ShapeError
from graphflow.compiler.ir.convert import Literal, as_tensor, short
from graphflow.compiler.ir.explain import misfit
from graphflow.compiler.ir.graph import Graph, Operation, get_default_graph
from graphflow.compiler.ir.registry import HOOKS, REGISTRY
from graphflow.compiler.ir.source import user_file
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.records import record

REQUIRED: Any = object()
_TENSOR = frozenset((Tensor,))

InferRule = Callable[[Operation], "TensorType | Sequence[TensorType]"]
GradRule = Callable[..., Any]


@record
class Subgraph:
    """An attribute that is a graph, as eager mode has it: a function (*arrays) -> list of arrays."""

    run: Callable[..., list[Any]]
    types: tuple[TensorType, ...]

    def __call__(self, *arrays: Any) -> list[Any]:
        return self.run(*arrays)


class OpDef:
    """One op, one record.

    name     in errors and printed graphs; unique
    params   operand names, "a b"; "*values" for any number of operands
    infer    Operation -> TensorType(s): the shape and dtype rule, with its errors
    grad     (op, g) -> a gradient (Tensor or None) per operand; g is one Tensor per output
    lower    a form from `loops.forms`: how one element of the result is computed
    expand   in place of lower: operands -> Tensor, written with other ops
    late     True where `expand` waits until the graph passes are done, which then see the op whole
    numpy    (*arrays, **attrs) -> array: eager mode, constant folding and the reference in tests
    samples  the op's tests; see `ops.samples`
    attrs    attribute name -> default; REQUIRED when there is none
    dim_attrs attributes made of dims, which may refer to the run-time shape or value of other tensors
    symbolic True where `numpy` also serves for shape arithmetic on arrays of dims; or op -> such an array
    mixed    operands may differ in dtype (else a Python number takes the dtype of the other operands)
    fails    a run may find fault with its operands: it runs though nothing uses its value
    effect   "" pure | "random" | "input" | "read" | "write" | "group"
    regions  attributes that are graphs; `numpy` is given a Subgraph for each
    partial  `grad` takes None for an output that nothing depends on, in place of zeros
    tf_name  TF1's type name, also the default name of operations
    home     the user's file that made it; "" for one of graphflow's own
    """

    __slots__ = ("name", "params", "variadic", "infer", "grad", "lower", "expand", "late", "numpy", "samples",
                 "attrs", "dim_attrs", "symbolic", "mixed", "fails", "effect", "regions", "partial",
                 "tf_name", "doc", "home")

    def __init__(self, name: str, params: str, *, infer: InferRule, grad: GradRule | None = None,
                 lower: Any = None, expand: Callable[..., Any] | None = None,
                 late: bool = False, numpy: Callable[..., Any] | None = None, samples: Sequence[Any] = (),
                 attrs: Mapping[str, Any] | None = None, dim_attrs: Sequence[str] = (),
                 symbolic: Any = False, mixed: bool = False, fails: bool = False, effect: str = "",
                 tf_name: str = "", regions: Sequence[str] = (), partial: bool = False,
                 doc: str = "") -> None:
        self.name = name
        self.variadic = params.startswith("*")
        self.params = tuple(params.lstrip("*").split())
        self.infer = infer
        self.grad = grad
        self.lower = lower
        self.expand = expand
        self.late = late
        self.numpy = numpy
        self.samples = samples
        self.attrs = dict(attrs or {})
        self.dim_attrs = tuple(dim_attrs)
        self.symbolic = symbolic
        self.mixed = mixed
        self.fails = fails
        self.effect = effect
        self.regions = tuple(regions)
        self.partial = partial
        self.tf_name = tf_name or "".join(w.capitalize() for w in name.split("_"))
        self.doc = doc
        self.home = user_file()
        _register(self)

    def __call__(self, *values: Any, name: str | None = None, **attrs: Any) -> Any:
        """Add this op to the graph of its operands; gives a Tensor, a tuple of them, or an Operation."""
        op = self.apply(values, name, attrs)
        if len(op.outputs) == 1:
            return op.outputs[0]
        return op.outputs if op.outputs else op

    def apply(self, values: Sequence[Any], name: str | None, attrs: dict[str, Any]) -> Operation:
        values, name = self._bind(values, name, attrs)
        graph = _graph_of(values)
        operands = self._convert(values, graph)
        return graph.create(self, operands, self._complete(attrs), name)

    def _bind(self, values: Sequence[Any], name: str | None,
              attrs: dict[str, Any]) -> tuple[Sequence[Any], str | None]:
        """Operands by position or keyword; one string too many is the name, as in tf.exp(x, "y")."""
        if len(values) == len(self.params) and not (self.variadic or attrs):
            return values, name
        bound = list(values)
        if self.variadic:
            if not bound:
                raise ShapeError(f"{self.name}() needs at least one tensor, and was given none")
            return bound, name
        if len(bound) == len(self.params) + 1 and isinstance(bound[-1], str) and name is None:
            name = bound.pop()
        for param in self.params[len(bound):]:
            if param not in attrs:
                raise TypeError(f"{self.name}() misses its operand {param!r}")
            bound.append(attrs.pop(param))
        if len(bound) > len(self.params):
            raise TypeError(f"{self.name}() takes the operands {', '.join(self.params)}, "
                            f"but {len(bound)} were given")
        return bound, name

    def _convert(self, values: Sequence[Any], graph: Graph) -> tuple[Tensor, ...]:
        if _TENSOR.issuperset(map(type, values)):
            return tuple(values)
        if graph is get_default_graph():
            return self._converted(values)
        with graph.as_default():
            return self._converted(values)

    def _converted(self, values: Sequence[Any]) -> tuple[Tensor, ...]:
        hint = None
        if not self.mixed:
            hint = next((v.dtype for v in values if hasattr(v, "dtype") and hasattr(v, "get_shape")), None)
        operands: list[Tensor] = []
        for v in values:
            operands.append(as_tensor(v, hint, for_op=self.name))
            if not self.mixed and hint is None:
                hint = operands[0].dtype
        return tuple(operands)

    def _complete(self, attrs: dict[str, Any]) -> dict[str, Any]:
        full = dict(self.attrs)
        if not (full or attrs):
            return full
        for key, value in attrs.items():
            if key not in full:
                raise TypeError(f"{self.name}() has no argument {key!r} (it has "
                                f"{', '.join((*self.params, *full, 'name'))})")
            full[key] = self._dims(key, value) if key in self.dim_attrs else _plain(value)
        for key, value in full.items():
            if value is REQUIRED:
                raise TypeError(f"{self.name}() misses its argument {key!r}")
        return full

    def _dims(self, key: str, value: Any) -> Any:
        try:
            return HOOKS["dims_attr"](value)
        except ShapeError as e:
            raise misfit(self.name, f"{key} {short(value)}: {e}") from None

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def _register(opdef: OpDef) -> None:
    if opdef.home:
        HOOKS["load_ops"]()  # the names of all of graphflow's own are taken
    known = REGISTRY.get(opdef.name)
    if known is not None and known.home != opdef.home:
        raise GraphError(f"an op named {opdef.name!r} exists already, made in {known.home or 'graphflow'}: "
                         f"give yours another name")
    REGISTRY[opdef.name] = opdef  # the same file again: a notebook cell or a reloaded module


def _graph_of(values: Sequence[Any]) -> Graph:
    for v in values:
        if type(v) is Tensor:
            return v.op.graph
        graph = getattr(v, "graph", None)
        if isinstance(graph, Graph):
            return graph
    return get_default_graph()


def _plain(value: Any) -> Any:
    """Immutable, hashable attributes: tuples for lists, Python numbers for numpy's, Literals for arrays."""
    if isinstance(value, np.ndarray):
        return Literal(value) if value.ndim else value.item()
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v) for v in value)
    if isinstance(value, np.generic):
        return value.item()
    return value
