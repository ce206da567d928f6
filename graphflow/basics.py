"""Building graphs: scopes, sources of values, grouping of operations, collections and seeds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import numpy as np

from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.convert import Literal, as_array, as_tensor, short
from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import as_dtype
from graphflow.compiler.ir.explain import misfit
from graphflow.compiler.ir.graph import Graph, Operation, get_default_graph
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import as_dims
from graphflow.compiler.ops import core
from graphflow.compiler.ops.random import seed_pair

# Scopes


class name_scope:
    """A scope of operation names: `with tf.name_scope("layer") as scope:` prefixes them with "layer/".

    `default_name` serves where `name` is None; `values` choose the graph. A name that ends in "/" is entered
    again as it is; a name of None without a default goes back to the root.
    """

    def __init__(self, name: str | None, default_name: str | None = None,
                 values: Iterable[Any] | None = None) -> None:
        if not (name is None or isinstance(name, str)):
            raise TypeError(f"name_scope: the name is a string, not {name!r}")
        self._name = default_name if name is None else name
        self._values = list(values) if values is not None else []
        if self._name is None and values is not None:
            raise ValueError("name_scope: one of name and default_name is needed")
        self._exits: list[contextlib.ExitStack] = []

    @property
    def name(self) -> str | None:
        return self._name

    def __enter__(self) -> str:
        stack = contextlib.ExitStack()
        self._exits.append(stack)
        graph = graph_of(self._values)
        stack.enter_context(graph.as_default())
        return stack.enter_context(graph.name_scope(self._name))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._exits.pop().__exit__(kind, error, trace)


def op_scope(values: Iterable[Any], name: str | None, default_name: str | None = None) -> name_scope:
    """`name_scope` in the argument order of TF 0.x."""
    return name_scope(name, default_name, values)


def graph_of(values: Iterable[Any]) -> Graph:
    """The graph of the first value that has one, else the default graph."""
    for v in values:
        graph = getattr(v, "graph", None)
        if isinstance(graph, Graph):
            return graph
    return get_default_graph()


def control_dependencies(control_inputs: Iterable[Any] | None) -> AbstractContextManager[None]:
    """Operations made inside run after `control_inputs`; None drops the dependencies of outer scopes."""
    return get_default_graph().control_dependencies(control_inputs)


def device(device_name_or_function: Any) -> AbstractContextManager[None]:
    """Note the device asked for on operations made inside. It is a wish: "/gpu:0" runs anywhere."""
    return get_default_graph().device(device_name_or_function)


@contextlib.contextmanager
def colocate_with(op: Any, ignore_existing: bool = False) -> Iterator[None]:
    """Accepted for TF1's sake: where an operation runs is decided by the compiler."""
    yield


@contextlib.contextmanager
def init_scope() -> Iterator[None]:
    """Leave the control dependencies in force, as the initial value of a variable does."""
    with get_default_graph().control_dependencies(None):
        yield


# Sources of values


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A value that is fed at each run.

    Shapes:  `shape` may have None for dims that differ from run to run; no shape at all leaves the rank open
    Raises:  DTypeError for what is no dtype, ShapeError for what is no shape
    """
    result: Tensor = core.placeholder(dtype=as_dtype(dtype), shape=declared_dims("placeholder", shape),
                                      name=name)
    return result


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """`input`, unless another value is fed; `shape` may be less specific than that of `input`."""
    dims = declared_dims("placeholder_with_default", shape)
    result: Tensor = core.placeholder_with_default(input, shape=dims, name=name or "PlaceholderWithDefault")
    return result


def declared_dims(function: str, shape: Any) -> tuple[Dim | None, ...] | None:
    """The dims that a user gives for a shape; ShapeError of the call where they are none."""
    try:
        return as_dims(shape)
    except ShapeError as e:
        raise misfit(function, f"shape {short(shape)}: {e}",
                     hint="None is a dim that each run decides") from None


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str = "Const",
             verify_shape: bool = False) -> Tensor:
    """A constant. With `shape`, one value fills it all; fewer values than elements repeat the last one.

    Raises:  DTypeError for values that do not fit `dtype`; ShapeError for more values than elements, or with
             `verify_shape` for any other shape than that of the values
    """
    array = as_array(value, None if dtype is None else as_dtype(dtype), for_op="constant")
    if shape is not None:
        array = _shaped(array, _static_shape(shape), verify_shape)
    result: Tensor = core.constant(value=Literal(array), name=name)
    return result


def _static_shape(shape: Any) -> tuple[int, ...]:
    dims = declared_dims("constant", shape)
    if dims is None or any(not isinstance(d, int) for d in dims):
        raise misfit("constant", f"the shape {shape} has unknown dims", hint="tf.fill takes them")
    return dims  # type: ignore[return-value]


def _shaped(array: np.ndarray[Any, Any], shape: tuple[int, ...], verify: bool) -> np.ndarray[Any, Any]:
    if array.shape == shape:
        return array
    count = int(np.prod(shape))
    if verify or array.size > count or (array.size == 0 and count):
        raise misfit("constant", f"{array.size} values of shape {array.shape} do not make {shape}")
    if array.size == 1:
        return np.full(shape, array.ravel()[0], array.dtype)
    flat = np.concatenate([array.ravel(), np.full(count - array.size, array.ravel()[-1:], array.dtype)])
    return flat.reshape(shape)


def convert_to_tensor(value: Any, dtype: Any = None, name: str | None = None, preferred_dtype: Any = None,
                      dtype_hint: Any = None) -> Tensor:
    """The value as a Tensor: numbers, lists, arrays, Variables, and lists with tensors in them.

    Raises:  DTypeError when a tensor has another dtype than the one asked for, or a value cannot take it
    """
    if dtype is not None:
        return as_tensor(value, as_dtype(dtype), name, for_op="convert_to_tensor")
    hint = preferred_dtype if dtype_hint is None else dtype_hint
    if hint is not None and not isinstance(value, Tensor):
        with contextlib.suppress(TypeError):
            return as_tensor(value, as_dtype(hint), name, for_op="convert_to_tensor")
    return as_tensor(value, None, name, for_op="convert_to_tensor")


def is_tensor(x: Any) -> bool:
    """Whether `x` is a Tensor, a Variable or another thing that stands for a tensor."""
    return isinstance(x, Tensor) or hasattr(x, "_as_tensor")


def identity(input: Any, name: str | None = None) -> Tensor:
    """The same value, as an operation of its own."""
    result: Tensor = core.identity(input, name=name)
    return result


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """The same value; gradients do not pass."""
    result: Tensor = core.stop_gradient(input, name=name)
    return result


# Grouping


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing; it carries control dependencies."""
    result: Operation = core.no_op(name=name)
    return result


def group(*inputs: Any, name: str | None = None) -> Operation:
    """One operation that runs all `inputs` (operations, tensors, variables, and lists of them)."""
    graph = graph_of(flatten(inputs))
    ops = dict.fromkeys(as_operation(x, graph) for x in flatten(inputs))
    with graph.as_default(), graph.control_dependencies(ops):
        return no_op(name or "group_deps")


def tuple_(tensors: Sequence[Any], name: str | None = None,
           control_inputs: Sequence[Any] | None = None) -> list[Any]:
    """The tensors, each only when all of them and `control_inputs` are computed; None stays None."""
    given = [t for t in tensors if t is not None]
    if not given:
        raise ValueError("tuple: at least one tensor is needed")
    with name_scope(name, "tuple", given):
        gate = group(*given, *(control_inputs or ()), name="group_deps")
        with control_dependencies([gate]):
            return [None if t is None else _after(t) for t in tensors]


def _after(t: Any) -> Any:
    if isinstance(t, Operation):
        return group(t)
    return identity(t, name="control_dependency")


def flatten(items: Any) -> list[Any]:
    """The leaves of lists and tuples, in order."""
    found: list[Any] = []
    stack = [items]
    while stack:
        item = stack.pop()
        if isinstance(item, (list, tuple)):
            stack.extend(reversed(item))
        elif isinstance(item, (set, frozenset, zip, map, filter)) or hasattr(item, "__next__"):
            stack.extend(reversed(list(item)))
        else:
            found.append(item)
    return found


def as_operation(x: Any, graph: Graph) -> Operation:
    element = graph.as_graph_element(x)
    return element.op if isinstance(element, Tensor) else element


def executing_eagerly() -> bool:
    """False: a graph is built first, and run by a Session."""
    return False


def disable_eager_execution() -> None:
    """Nothing to do: graphs are all there is."""


disable_v2_behavior = disable_eager_execution

# Collections and seeds


def add_to_collection(name: Any, value: Any) -> None:
    """Store `value` under `name` in the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """Store `value` under each of `names` in the default graph."""
    get_default_graph().add_to_collections(names, value)


def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """What is stored under `key`; with `scope`, only items whose name starts with that pattern."""
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: Any) -> list[Any]:
    """The list itself that is stored under `key`: changes to it stay."""
    return get_default_graph().get_collection_ref(key)


def set_random_seed(seed: int | None) -> None:
    """The seed of the default graph: with it, a program draws the same numbers in every new session."""
    get_default_graph().seed = seed


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """The seeds of one random operation by TF1's rules; with (None, None) it draws differently each time."""
    return seed_pair(get_default_graph(), op_seed) or (None, None)
