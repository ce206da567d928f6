"""ExponentialMovingAverage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from graphflow.basics import group, init_scope, name_scope
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.graph import Operation, get_default_graph
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.keys import GraphKeys
from graphflow.train.optimizer import make_slot
from graphflow.train.steps import _as
from graphflow.variables import Variable, moving_average_variables, trainable_variables


class ExponentialMovingAverage:
    """Running means of variables:  average = decay * average + (1 - decay) * variable

    With `num_updates` the decay is min(decay, (1 + num_updates) / (10 + num_updates)): faster at the start.
    Averages of variables start from their initial values, those of other tensors from zero, which zero_debias
    corrects for.
    """

    def __init__(self, decay: Any, num_updates: Any = None, zero_debias: bool = False,
                 name: str = "ExponentialMovingAverage") -> None:
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Any, Variable] = {}

    @property
    def name(self) -> str:
        return self._name

    def apply(self, var_list: Iterable[Any] | None = None) -> Operation:
        """The operation that updates the averages of `var_list`, by default of all trainable variables."""
        variables = trainable_variables() if var_list is None else list(var_list)
        for v in variables:
            if v not in self._averages:
                self._averages[v] = self._make(v)
        with name_scope(self._name):
            decay = self._current_decay()
            updates = [self._update(v, decay) for v in variables]
            return group(*updates)

    def _make(self, v: Any) -> Variable:
        with init_scope():
            if isinstance(v, Variable):
                made = make_slot(v, self._name, v.initialized_value())
                get_default_graph().add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, v)
            else:
                made = make_slot(v, self._name)
            return made

    def _current_decay(self) -> Any:
        if self._num_updates is None:
            return self._decay
        decay = as_tensor(self._decay)
        n = _as(self._num_updates, decay)
        return REGISTRY["minimum"](decay, (1 + n) / (10 + n))

    def _update(self, v: Any, decay: Any) -> Any:
        average, value = self._averages[v], as_tensor(v)
        decay = _as(decay, value) if isinstance(decay, Tensor) else decay
        if self._zero_debias and not isinstance(v, Variable):
            return self._debiased(average, value, decay)
        return average.assign_sub((average - value) * (1 - decay))

    def _debiased(self, average: Variable, value: Tensor, decay: Any) -> Any:
        """The average of a plain tensor starts from zero; dividing by 1 - decay^t corrects for it."""
        with init_scope():
            biased = make_slot(average, "biased")
            steps = make_slot(average, "local_step", np.zeros((), value.dtype.numpy))
        sums = biased.assign_sub((biased - value) * (1 - decay))
        count = steps.assign_add(1)
        return average.assign(sums / (1 - REGISTRY["pow"](decay, count)))

    def average(self, var: Any) -> Variable | None:
        """The variable that holds the average of `var`, or None."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """The name of the average of `var`, without ":0"."""
        found = self._averages.get(var)
        return found.op.name if found is not None else f"{var.op.name}/{self._name}"

    def variables_to_restore(self, moving_avg_variables: Iterable[Any] | None = None) -> dict[str, Any]:
        """Names in a checkpoint -> variables, so that a Saver loads averages in place of the variables."""
        averaged = list(moving_avg_variables) if moving_avg_variables is not None else [
            *trainable_variables(), *moving_average_variables()]
        names = {self.average_name(v): v for v in dict.fromkeys(averaged)}
        rest = {v.op.name: v for v in get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES)
                if v not in averaged and v.op.name not in names}
        return names | rest
