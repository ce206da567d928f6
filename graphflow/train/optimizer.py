"""Optimizer: from a loss to the operation that makes one step of training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphflow.basics import control_dependencies, group, init_scope, name_scope
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.graph import Graph, Operation, get_default_graph
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.source import user_line
from graphflow.compiler.ir.tensor import Tensor
from graphflow.differentiation import gradients
from graphflow.embedding import dense_gradient
from graphflow.initializers import Zeros
from graphflow.keys import GraphKeys
from graphflow.scopes import get_variable_scope
from graphflow.variables import Variable, trainable_variables

GradsAndVars = list[tuple[Any, Variable]]


class Optimizer:
    """The base of optimizers. A subclass gives `_update`, and its numbers in `_settings`.

    use_locking  of all runs in which a change asks for it, one alone is under way at a time

    Updates are written with plain operations, so that the compiler makes one kernel per variable.
    """

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2

    def __init__(self, use_locking: bool, name: str, **settings: Any) -> None:
        if not name:
            raise ValueError("an optimizer needs a name")
        self._name = name
        self._use_locking = use_locking
        self._settings = settings
        self._slots: dict[str, dict[Variable, Variable]] = {}
        self._extra: dict[tuple[str, Graph], Variable] = {}

    def get_name(self) -> str:
        return self._name

    def minimize(self, loss: Any, global_step: Variable | None = None, var_list: Any = None,
                 gate_gradients: int = GATE_OP, aggregation_method: Any = None,
                 colocate_gradients_with_ops: bool = False, name: str | None = None,
                 grad_loss: Any = None) -> Operation:
        """The operation of one step that makes `loss` smaller: gradients, then their application.

        Raises:  ValueError when no variable has a gradient
        """
        pairs = self.compute_gradients(loss, var_list, gate_gradients, aggregation_method,
                                       colocate_gradients_with_ops, grad_loss)
        if not any(g is not None for g, _ in pairs):
            raise ValueError(f"no gradients: the loss {as_tensor(loss).name} depends on none of "
                             f"{', '.join(v.name for _, v in pairs)}")
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(self, loss: Any, var_list: Any = None, gate_gradients: int = GATE_OP,
                          aggregation_method: Any = None, colocate_gradients_with_ops: bool = False,
                          grad_loss: Any = None) -> GradsAndVars:
        """(gradient, variable) for each of `var_list` (default: trainable ones); a gradient may be None."""
        if callable(loss):
            loss = loss()
        variables = trainable_variables() if var_list is None else _variables(var_list)
        if not variables:
            raise ValueError("no variables to optimize: the graph has no trainable ones, and none were given")
        return list(zip(gradients(loss, variables, grad_loss), variables, strict=True))

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]],
                        global_step: Variable | None = None, name: str | None = None) -> Operation:
        """The operation that updates the variables; pairs with a gradient of None are left out.

        With `global_step`, that variable is incremented once all others are updated.
        Raises:  ValueError when no gradient is left
        """
        pairs = [(g, v) for g, v in grads_and_vars if g is not None]
        if not pairs:
            raise ValueError("no gradients for any variable")
        variables = _variables([v for _, v in pairs])
        with get_default_graph().from_line(user_line()):
            with init_scope():
                self._create_slots(variables)
            with name_scope(name, self._name) as scope:
                settings = self._prepare()
                updates = [self._apply_one(g, v, settings) for g, v in pairs]
                updates += self._after(settings)
                step = _train_op(updates, global_step, scope)
        _join_train_ops(step)
        return step

    def _apply_one(self, gradient: Any, variable: Variable, settings: dict[str, Any]) -> Any:
        with name_scope(f"update_{variable.op.name}"):
            g = dense_gradient(gradient, variable.value())
            values = {k: cast_like(v, variable) if isinstance(v, Tensor) else v for k, v in settings.items()}
            return self._update(g, variable, **values)

    # What a subclass gives

    def _update(self, g: Tensor, variable: Variable, **settings: Any) -> Any:
        """The assignment of one variable's new value; `settings` have its dtype."""
        raise NotImplementedError

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        """Make the variables that go with each trained variable."""

    def _prepare(self) -> dict[str, Any]:
        """The settings as tensors (numbers stay what they are), made once per step."""
        return {k: _value(v, k) for k, v in self._settings.items()}

    def _after(self, settings: dict[str, Any]) -> list[Any]:
        """Updates that come once per step."""
        return []

    # Variables of the optimizer

    def get_slot(self, var: Variable, name: str) -> Variable | None:
        """The variable of this optimizer that goes with `var`, such as its momentum; or None."""
        return self._slots.get(name, {}).get(var)

    def get_slot_names(self) -> list[str]:
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """All variables of the optimizer in the default graph."""
        graph = get_default_graph()
        extra = [v for (_, g), v in self._extra.items() if g is graph]
        slots = [s for slots in self._slots.values() for v, s in slots.items() if v.graph is graph]
        return sorted(extra + slots, key=lambda v: v.name)

    def _slot(self, variable: Variable, name: str, initial: Any = None, label: str = "") -> Variable:
        slots = self._slots.setdefault(name, {})
        if variable not in slots:
            slots[variable] = make_slot(variable, label or self._name, initial)
        return slots[variable]

    def _shared(self, name: str, initial: Any) -> Variable:
        """A variable of the optimizer as a whole."""
        key = (name, get_default_graph())
        if key not in self._extra:
            self._extra[key] = Variable(initial, name=name, trainable=False)
        return self._extra[key]


def make_slot(variable: Variable, label: str, initial: Any = None) -> Variable:
    """A variable of the same shape, named after `variable` and `label`; by default of zeros."""
    scope = get_variable_scope().name
    name = "/".join(part for part in (scope, variable.op.name, label) if part)
    if initial is None:
        shape = variable.shape.as_list()
        initial = lambda: Zeros(variable.dtype)(shape)  # noqa: E731
    with get_default_graph().name_scope(None):
        return Variable(initial, name=name, trainable=False)


def _train_op(updates: list[Any], global_step: Variable | None, scope: str) -> Operation:
    if global_step is None:
        return group(*updates, name=scope)
    with control_dependencies([group(*updates, name="update")]):
        one = np.asarray(1, global_step.dtype.numpy)
        step: Operation = global_step.assign_add(one, name=scope, read_value=False)
        return step


def _join_train_ops(step: Operation) -> None:
    ops = get_default_graph().get_collection_ref(GraphKeys.TRAIN_OP)
    if step not in ops:
        ops.append(step)


def _variables(var_list: Any) -> list[Variable]:
    found = [var_list] if isinstance(var_list, Variable) else [*var_list]
    flat = [v for item in found for v in (item if isinstance(item, (list, tuple)) else [item])]
    for v in flat:
        if not isinstance(v, Variable):
            raise TypeError(f"an optimizer changes variables, not {v!r}")
    return flat


def _value(value: Any, name: str) -> Any:
    """A Python number as it is (a constant of each kernel); what may change from run to run as a tensor."""
    if isinstance(value, Callable):  # type: ignore[arg-type]
        value = value()
    return as_tensor(value) if hasattr(value, "get_shape") else value


def cast_like(value: Tensor, variable: Variable) -> Tensor:
    if value.dtype is variable.dtype:
        return value
    result: Tensor = REGISTRY["cast"](value, dtype=variable.dtype)
    return result
