"""Variable: a value that lives in a session from run to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphflow.basics import group
from graphflow.compiler.errors import GraphError, ShapeError, UnsupportedError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import DType, as_dtype
from graphflow.compiler.ir.explain import location
from graphflow.compiler.ir.graph import Graph, Operation, default_session, get_default_graph
from graphflow.compiler.ir.rewrite import ancestors
from graphflow.compiler.ir.shape import TensorShape
from graphflow.compiler.ir.tensor import Tensor, TensorLike
from graphflow.compiler.ir.types import TensorType, as_dims
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.ops import core
from graphflow.keys import GraphKeys


class Variable(TensorLike):
    """A value that lives in a session from run to run; used in expressions it is its current value.

    initial_value  array, number, tensor, or a function without arguments that makes one
    trainable      whether optimizers change it by default; default True
    collections    default [GraphKeys.GLOBAL_VARIABLES]; trainable ones join TRAINABLE_VARIABLES as well
    validate_shape False allows an initial value of unknown shape
    dtype          default: that of the initial value
    Raises:        ShapeError when the initial value has an unknown shape (and validate_shape is True)

    A run that reads it before `tf.global_variables_initializer()` has run raises FailedPreconditionError.
    """

    def __init__(self, initial_value: Any = None, trainable: bool | None = None,
                 collections: Sequence[Any] | None = None, validate_shape: bool = True,
                 caching_device: Any = None,
                 name: str | None = None, variable_def: Any = None, dtype: Any = None,
                 expected_shape: Any = None,
                 import_scope: str | None = None, constraint: Callable[[Any], Any] | None = None,
                 use_resource: bool | None = None, synchronization: Any = None, aggregation: Any = None,
                 shape: Any = None) -> None:
        if initial_value is None:
            raise ValueError("Variable: an initial value is needed")
        self._graph = get_default_graph()
        self.trainable = trainable is None or bool(trainable)
        self.constraint = constraint
        self._reads: list[Tensor] = []
        declared = shape if shape is not None else expected_shape
        with self._graph.control_dependencies(None), self._graph.name_scope(name or "Variable") as scope:
            initial = self._initial(initial_value, None if dtype is None else as_dtype(dtype), scope)
            self.handle = VariableHandle(scope[:-1], _type_of(initial, declared, validate_shape, scope[:-1]))
            self._variable: Tensor = core.variable(variable=self.handle, name=scope)
            self._initial_value = _without_uninitialized(initial)
            self.initializer: Operation = core.assign(self._initial_value, variable=self.handle,
                                                      name="Assign").op
            self._snapshot: Tensor = core.read_variable(variable=self.handle, name="read")
        self._reads += [self._snapshot, self._variable]
        self._join(collections)

    def _initial(self, value: Any, dtype: DType | None, scope: str) -> Tensor:
        if not callable(value):
            return as_tensor(value, dtype, "initial_value", for_op="Variable")
        with self._graph.name_scope(scope + "Initializer/"):
            return as_tensor(value(), dtype, "initial_value", for_op="Variable")

    def _join(self, collections: Sequence[Any] | None) -> None:
        keys = [GraphKeys.GLOBAL_VARIABLES] if collections is None else list(collections)
        if self.trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
            keys.append(GraphKeys.TRAINABLE_VARIABLES)
        self._graph.add_to_collections(keys, self)
        _by_handle(self._graph)[self.handle] = self

    # What it is

    @property
    def name(self) -> str:
        return self._variable.name

    @property
    def op(self) -> Operation:
        return self._variable.op

    @property
    def graph(self) -> Graph:
        return self._graph

    @property
    def device(self) -> str:
        return self._variable.op.device

    @property
    def dtype(self) -> DType:
        return self._variable.dtype

    @property
    def shape(self) -> TensorShape:
        return self._variable.shape

    def get_shape(self) -> TensorShape:
        return self._variable.shape

    def set_shape(self, shape: Any) -> None:
        """Add what is known of the shape."""
        for t in self._reads:
            t.set_shape(shape)

    @property
    def initial_value(self) -> Tensor:
        return self._initial_value

    # Its value

    def _as_tensor(self) -> Tensor:
        """The value as of the start of a run; inside control dependencies, the value after them."""
        return self.read_value() if self._graph.has_controls else self._snapshot

    def _as_graph_element(self) -> Tensor:
        return self._variable

    def value(self) -> Tensor:
        """The tensor that stands for the variable in expressions."""
        return self._as_tensor()

    def read_value(self) -> Tensor:
        """A read of its own: under `tf.control_dependencies` it sees the writes that come before it."""
        with self._graph.as_default():
            t: Tensor = core.read_variable(variable=self.handle, name="read")
        self._reads.append(t)
        return t

    def initialized_value(self) -> Tensor:
        """The initial value, for use in the initial value of another variable: both are set in one run."""
        return self._initial_value

    def eval(self, session: Any = None) -> Any:
        """The value in `session`, or in the default session."""
        return default_session(session, self._graph).run(self)

    def load(self, value: Any, session: Any = None) -> None:
        """Set the value in `session` (or the default one) without adding an operation."""
        default_session(session, self._graph).load(self, value)

    # Changes

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None,
               read_value: bool = True) -> Any:
        """An operation that sets the variable; as a tensor, it is the new value.

        use_locking  of all runs in which a change asks for it, one alone is under way at a time
        """
        return self._write(core.assign, value, name, read_value, use_locking)

    def assign_add(self, delta: Any, use_locking: bool = False, name: str | None = None,
                   read_value: bool = True) -> Any:
        """An operation that adds `delta`; as a tensor, it is the new value."""
        return self._write(core.assign_add, delta, name, read_value, use_locking)

    def assign_sub(self, delta: Any, use_locking: bool = False, name: str | None = None,
                   read_value: bool = True) -> Any:
        """An operation that subtracts `delta`; as a tensor, it is the new value."""
        return self._write(core.assign_sub, delta, name, read_value, use_locking)

    def _write(self, record: Any, value: Any, name: str | None, read_value: bool, use_locking: Any) -> Any:
        with self._graph.as_default():
            t: Tensor = record(as_tensor(value, self.dtype, for_op=record.name), variable=self.handle,
                               use_locking=bool(use_locking), name=name)
        return t if read_value else t.op

    def count_up_to(self, limit: int) -> Tensor:
        raise UnsupportedError("count_up_to: use assign_add and test the value in Python")

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:  # identity, as in TF1: variables are dictionary keys
        return self is other

    def __repr__(self) -> str:
        return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"


def _type_of(initial: Tensor, declared: Any, validate_shape: bool, name: str) -> TensorType:
    dims = as_dims(declared) if declared is not None else initial.type.dims
    if not TensorShape(dims).is_compatible_with(initial.shape):
        raise ShapeError(f"variable {name!r}: the initial value has the shape {initial.shape}, not "
                         f"{TensorShape(dims)}")
    if validate_shape and not TensorShape(dims).is_fully_defined():
        raise ShapeError(f"variable {name!r}: the initial value {initial.name} has shape {initial.shape}, "
                         f"not known before a run\nhint: validate_shape=False allows it")
    return TensorType(initial.dtype, dims)


def _without_uninitialized(initial: Tensor) -> Tensor:
    """The initial value with reads of other variables replaced by their initial values.

    One run initializes all variables, and a read sees the value from before the run, when there is none yet.
    """
    variables = _by_handle(initial.graph)
    order = ancestors([initial])
    new: dict[Tensor, Tensor] = {op.out: variables[op.variable].initial_value for op in order
                                 if op.opdef in (core.read_variable, core.variable)}
    for op in order if new else ():
        if op.out not in new and any(t in new for t in op.operands):
            operands = tuple(new.get(t, t) for t in op.operands)
            copy = initial.graph.create(op.opdef, operands, op.attrs, op.name.rpartition("/")[2], op.source)
            new.update(zip(op.outputs, copy.outputs, strict=True))
    return new.get(initial, initial)


_BY_HANDLE = ("variables by handle",)  # no string: hidden from get_all_collection_keys


def _by_handle(graph: Graph) -> dict[VariableHandle, Variable]:
    store = graph.get_collection_ref(_BY_HANDLE)
    if not store:
        store.append({})
    found: dict[VariableHandle, Variable] = store[0]
    return found


def reads_of(x: Any) -> list[Tensor]:
    """Every tensor that stands for `x`: all reads made so far of a Variable, else the tensor itself."""
    if isinstance(x, Tensor) and x.op.opdef in (core.read_variable, core.variable):
        x = _by_handle(x.graph).get(x.op.variable, x) if x.op.opdef is core.variable else x
    return list(x._reads) if isinstance(x, Variable) else [as_tensor(x)]


# Lists of variables and their initializers


def global_variables(scope: str | None = None) -> list[Variable]:
    """The variables of the default graph; with `scope`, those whose name starts with that pattern."""
    return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Variable]:
    """The variables that optimizers change by default."""
    return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def local_variables(scope: str | None = None) -> list[Variable]:
    """The variables that are not saved, such as counters of metrics."""
    return get_default_graph().get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Variable]:
    """The variables marked as part of a model."""
    return get_default_graph().get_collection(GraphKeys.MODEL_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Variable]:
    """The variables that an ExponentialMovingAverage follows."""
    return get_default_graph().get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def variables_initializer(var_list: Iterable[Variable], name: str = "init") -> Operation:
    """An operation that sets the given variables to their initial values."""
    return group(*[v.initializer for v in var_list], name=name)


def global_variables_initializer() -> Operation:
    """An operation that sets all global variables made so far to their initial values."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """An operation that sets all local variables made so far to their initial values."""
    return variables_initializer(local_variables())


# Changes as functions


def assign(ref: Any, value: Any, validate_shape: bool | None = None, use_locking: bool | None = None,
           name: str | None = None) -> Tensor:
    """Set the variable `ref`; the result is the new value."""
    return _change(core.assign, ref, value, name, use_locking)


def assign_add(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Add to the variable `ref`; the result is the new value."""
    return _change(core.assign_add, ref, value, name, use_locking)


def assign_sub(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Subtract from the variable `ref`; the result is the new value."""
    return _change(core.assign_sub, ref, value, name, use_locking)


def _change(record: Any, ref: Any, value: Any, name: str | None, use_locking: Any) -> Tensor:
    variable = _variable(ref, record.name)
    # a write's result as `ref` orders the writes: tf.assign_add(tf.assign(w, 0), 1)
    with variable.graph.control_dependencies([ref] if isinstance(ref, Tensor) else []):
        result: Tensor = variable._write(record, value, name, True, use_locking)
    return result


def _variable(ref: Any, function: str) -> Variable:
    if isinstance(ref, Variable):
        return ref
    if isinstance(ref, Tensor) and "variable" in ref.op.attrs:
        found = _by_handle(ref.graph).get(ref.op.variable)
        if found is not None:
            return found
    if isinstance(ref, Tensor):
        raise GraphError(f"{function}: {ref.name}, made at {location(ref)}, is no variable")
    raise TypeError(f"{function}: a variable is needed, not {ref!r}")
