"""variable_scope and get_variable: variables shared by name."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from graphflow.basics import declared_dims, name_scope
from graphflow.compiler.errors import DTypeError, GraphError, ShapeError, close_to
from graphflow.compiler.ir.convert import as_array
from graphflow.compiler.ir.dtypes import DType, as_dtype, float32
from graphflow.compiler.ir.explain import misfit
from graphflow.compiler.ir.graph import get_default_graph
from graphflow.compiler.ir.shape import TensorShape
from graphflow.compiler.ir.tensor import Tensor
from graphflow.initializers import Initializer, glorot_uniform_initializer, zeros_initializer
from graphflow.keys import GraphKeys
from graphflow.variables import Variable


class _AutoReuse:
    """Reuse a variable that exists, make one that does not."""

    def __repr__(self) -> str:
        return "tf.AUTO_REUSE"


AUTO_REUSE = _AutoReuse()
_INHERITED = ("initializer", "regularizer", "dtype", "custom_getter", "constraint")


class VariableScope:
    """What `get_variable` uses for what its caller leaves open: a name prefix, reuse, and defaults."""

    def __init__(self, reuse: Any = False, name: str = "", initializer: Any = None, regularizer: Any = None,
                 caching_device: Any = None, partitioner: Any = None, custom_getter: Any = None,
                 name_scope: str = "", dtype: Any = float32, use_resource: bool | None = None,
                 constraint: Any = None) -> None:
        self.name = name
        self.original_name_scope = name_scope
        self.reuse = reuse
        self.initializer = initializer
        self.regularizer = regularizer
        self.dtype = dtype
        self.custom_getter = custom_getter
        self.constraint = constraint

    def reuse_variables(self) -> None:
        """From now on `get_variable` in this scope gives variables that exist."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        self.initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        self.regularizer = regularizer

    def set_dtype(self, dtype: Any) -> None:
        self.dtype = as_dtype(dtype)

    def global_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def trainable_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def get_collection(self, name: Any) -> list[Any]:
        """What this scope holds of a collection."""
        return get_default_graph().get_collection(name, self.name + "/" if self.name else None)

    def _derived(self, **changes: Any) -> VariableScope:
        fields = {"reuse": self.reuse, "name": self.name, "name_scope": self.original_name_scope}
        fields |= {k: getattr(self, k) for k in _INHERITED}
        fields |= {k: v for k, v in changes.items() if v is not None}
        return VariableScope(**fields)


class _Store:
    """The shared variables of one graph, the scope in force, and how often each scope name was entered."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.scope = VariableScope()
        self.entered: dict[str, int] = {}


_STORE = ("variable store",)  # no string: hidden from get_all_collection_keys


def _store() -> _Store:
    held = get_default_graph().get_collection_ref(_STORE)
    if not held:
        held.append(_Store())
    found: _Store = held[0]
    return found


def get_variable_scope() -> VariableScope:
    """The variable scope in force."""
    return _store().scope


class variable_scope:
    """A scope of shared variables, and of operation names: `with tf.variable_scope("layer") as scope:`.

    name_or_scope  a name (prefixed by the scope in force), or a scope object, which is entered as it is
    default_name   used where name_or_scope is None, with _1, _2, ... to make it unique
    reuse          True: variables must exist; tf.AUTO_REUSE: made when they do not; inherited by inner scopes
    initializer, regularizer, dtype, custom_getter, constraint: defaults of get_variable inside
    auxiliary_name_scope  False leaves the names of operations alone
    """

    def __init__(self, name_or_scope: Any, default_name: str | None = None,
                 values: Iterable[Any] | None = None, initializer: Any = None, regularizer: Any = None,
                 caching_device: Any = None,
                 partitioner: Any = None, custom_getter: Any = None, reuse: Any = None, dtype: Any = None,
                 use_resource: bool | None = None, constraint: Any = None,
                 auxiliary_name_scope: bool = True) -> None:
        if name_or_scope is None and default_name is None:
            raise TypeError("variable_scope: one of name_or_scope and default_name is needed")
        if name_or_scope is None and reuse:
            raise ValueError("variable_scope: reuse=True needs a name_or_scope: a default name is always new")
        if not isinstance(name_or_scope, (str, VariableScope, type(None))):
            raise TypeError(f"variable_scope: a name or a scope is needed, not {name_or_scope!r}")
        self._given = name_or_scope
        self._default_name = default_name
        self._values = values
        self._reuse = reuse
        self._auxiliary = auxiliary_name_scope
        self._changes = {"initializer": initializer, "regularizer": regularizer, "constraint": constraint,
                         "dtype": None if dtype is None else as_dtype(dtype)}
        self._custom_getter = custom_getter
        self._exits: list[contextlib.ExitStack] = []

    def __enter__(self) -> VariableScope:
        with contextlib.ExitStack() as stack:
            ops_scope = self._enter_names(stack)
            store = _store()
            before, scope = store.scope, self._scope(store, ops_scope)
            counts = dict(store.entered) if isinstance(self._given, VariableScope) else None
            store.entered[scope.name] = store.entered.get(scope.name, 0) + 1
            store.scope = scope
            stack.callback(_leave, store, before, scope.name, counts)
            self._exits.append(stack.pop_all())
        return scope

    def _enter_names(self, stack: contextlib.ExitStack) -> str:
        given = self._given.name.rpartition("/")[2] if isinstance(self._given, VariableScope) else self._given
        name = self._default_name if given is None else given
        if not self._auxiliary or not name:
            return get_default_graph().current_scope
        return stack.enter_context(name_scope(name, values=self._values or ()))

    def _scope(self, store: _Store, ops_scope: str) -> VariableScope:
        outer = store.scope
        changes = dict(self._changes)
        if isinstance(self._given, VariableScope):
            # a scope object brings all its settings; only what is given here differs
            base = self._given
            name, reuse, ops_scope = base.name, self._reuse or base.reuse, base.original_name_scope
        else:
            base = outer
            name = self._unique(store) if self._given is None else self._given
            name = f"{outer.name}/{name}" if outer.name else name
            reuse = self._reuse or outer.reuse
        changes["custom_getter"] = _nested_getter(base.custom_getter, self._custom_getter)
        return base._derived(name=name, reuse=reuse, name_scope=ops_scope, **changes)

    def _unique(self, store: _Store) -> str:
        assert self._default_name is not None
        prefix = f"{store.scope.name}/" if store.scope.name else ""
        name, k = self._default_name, 0
        while store.entered.get(prefix + name):
            k += 1
            name = f"{self._default_name}_{k}"
        return name

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._exits.pop().__exit__(kind, error, trace)

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return fn(*args, **kwargs)
        return inside


def _leave(store: _Store, before: VariableScope, name: str, counts: dict[str, int] | None) -> None:
    store.scope = before
    # default names inside start over when this scope is entered again, so that reuse finds the same ones
    store.entered = counts or {k: n for k, n in store.entered.items() if not k.startswith(name + "/")}


def _nested_getter(outer: Any, inner: Any) -> Any:
    if outer is None or inner is None:
        return inner or outer
    return lambda getter, *args, **kwargs: inner(functools.partial(outer, getter), *args, **kwargs)


def variable_op_scope(values: Iterable[Any], name_or_scope: Any, default_name: str | None = None,
                      **kwargs: Any) -> variable_scope:
    """`variable_scope` in the argument order of TF 0.x."""
    return variable_scope(name_or_scope, default_name, values, **kwargs)


def get_variable(name: str, shape: Any = None, dtype: Any = None, initializer: Any = None,
                 regularizer: Any = None, trainable: bool | None = None,
                 collections: Sequence[Any] | None = None, caching_device: Any = None,
                 partitioner: Any = None, validate_shape: bool = True, use_resource: bool | None = None,
                 custom_getter: Any = None, constraint: Any = None, synchronization: Any = None,
                 aggregation: Any = None) -> Variable:
    """The variable of this name in the variable scope in force: a new one, or with reuse the one that exists.

    initializer  a function (shape, dtype) -> tensor, or a value; default: that of the scope, else Glorot
                 uniform for floats and zeros for other dtypes
    regularizer  a function variable -> loss; its result joins GraphKeys.REGULARIZATION_LOSSES
    Raises:      GraphError when the variable exists but is not to be reused, or is to be reused but does not
                 exist; ShapeError and DTypeError when the one that exists is different
    """
    scope = _store().scope
    full = f"{scope.name}/{name}" if scope.name else name
    settings = {
        "shape": shape, "dtype": as_dtype(scope.dtype if dtype is None else dtype),
        "initializer": scope.initializer if initializer is None else initializer,
        "regularizer": scope.regularizer if regularizer is None else regularizer,
        "reuse": scope.reuse, "trainable": trainable, "collections": collections,
        "validate_shape": validate_shape,
        "constraint": scope.constraint if constraint is None else constraint}
    if dtype is None and not callable(settings["initializer"]) and settings["initializer"] is not None:
        settings["dtype"] = _dtype_of(settings["initializer"])
    getter = _nested_getter(scope.custom_getter, custom_getter)
    if getter is None:
        return _get(full, **settings)
    result: Variable = getter(_get, full, **settings)
    return result


def _dtype_of(value: Any) -> DType:
    return value.dtype if isinstance(value, (Tensor, Variable)) else as_dtype(as_array(value).dtype)


def _get(name: str, shape: Any = None, dtype: Any = float32, initializer: Any = None, regularizer: Any = None,
         reuse: Any = None, trainable: bool | None = None, collections: Sequence[Any] | None = None,
         validate_shape: bool = True, constraint: Any = None, **ignored: Any) -> Variable:
    """The part of `get_variable` that a custom getter is given."""
    store = _store()
    found = store.variables.get(name)
    if found is not None:
        return _reused(found, name, shape, as_dtype(dtype), reuse)
    if reuse is True:
        raise GraphError(f"variable {name!r} does not exist, or was not made by tf.get_variable()"
                         f"{close_to(name, store.variables)}\nhint: reuse=tf.AUTO_REUSE makes it then")
    initial, dtype = _initial_value(name, shape, as_dtype(dtype), initializer)
    # names of shared variables come from variable scopes alone
    with get_default_graph().name_scope(None):
        made = Variable(initial, trainable=trainable, collections=collections, validate_shape=validate_shape,
                        name=name, dtype=dtype, constraint=constraint)
    store.variables[name] = made
    if regularizer is not None:
        _regularize(made, name, regularizer)
    return made


def _reused(found: Variable, name: str, shape: Any, dtype: DType, reuse: Any) -> Variable:
    file, line = found.op.source
    where = f"made at {file}:{line}"
    if not reuse:
        raise GraphError(f"variable {name!r} already exists, {where}\nhint: reuse=True or tf.AUTO_REUSE in "
                         f"tf.variable_scope shares it; tf.reset_default_graph() starts over")
    if shape is not None and not TensorShape(shape).is_compatible_with(found.shape):
        raise ShapeError(f"variable {name!r} has the shape {found.shape} ({where}), not "
                         f"{TensorShape(shape)}")
    if dtype is not found.dtype:
        raise DTypeError(f"variable {name!r} is {found.dtype.name} ({where}), but {dtype.name} is asked for")
    return found


def _initial_value(name: str, shape: Any, dtype: DType, initializer: Any) -> tuple[Any, DType]:
    """An initial value for Variable: a function without arguments, or a value."""
    if initializer is None:
        initializer = glorot_uniform_initializer() if dtype.is_floating else zeros_initializer()
    if inspect.isclass(initializer):
        initializer = initializer()
    if not callable(initializer):
        if shape is not None:
            raise misfit("get_variable", f"variable {name!r}: the initializer is a value with a shape of its "
                         f"own, so give none", hint="tf.constant_initializer(value) fills any shape")
        return initializer, dtype
    if shape is None and not _takes_nothing(initializer):
        raise misfit("get_variable", f"variable {name!r} is new, so its shape is needed")
    if shape is None:
        return initializer, dtype
    static = TensorShape(declared_dims("get_variable", shape))
    if not static.is_fully_defined():
        raise misfit("get_variable", f"variable {name!r}: the shape {static} has unknown dims")
    is_own = isinstance(initializer, Initializer)  # asking for parameters takes time
    extra = {"partition_info": None} if not is_own and "partition_info" in _parameters(initializer) else {}
    return functools.partial(initializer, static.as_list(), dtype=dtype, **extra), dtype


def _parameters(fn: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(fn).parameters
    except (TypeError, ValueError):  # some builtins have no signature
        return {}


def _takes_nothing(fn: Callable[..., Any]) -> bool:
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
               for p in _parameters(fn).values())


def _regularize(variable: Variable, name: str, regularizer: Callable[[Variable], Any]) -> None:
    with get_default_graph().name_scope(f"{name}/Regularizer/"):
        loss = regularizer(variable)
    if loss is not None:
        get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)


def get_local_variable(name: str, shape: Any = None, dtype: Any = None, initializer: Any = None,
                       regularizer: Any = None, trainable: bool = False,
                       collections: Sequence[Any] | None = None, **kwargs: Any) -> Variable:
    """`get_variable` for a variable that is neither trained nor saved."""
    keys = [*(collections or ()), GraphKeys.LOCAL_VARIABLES]
    return get_variable(name, shape, dtype, initializer, regularizer, False, keys, **kwargs)


def no_regularizer(_: Any) -> None:
    """A regularizer that adds no loss, where an outer scope has one."""
