"""The optimizers of TF1. g is the gradient, lr the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.tensor import Tensor
from graphflow.initializers import Constant
from graphflow.train.optimizer import Optimizer, cast_like
from graphflow.variables import Variable


def _sqrt(x: Any) -> Tensor:
    result: Tensor = REGISTRY["sqrt"](x)
    return result


def _square(x: Any) -> Tensor:
    result: Tensor = REGISTRY["square"](x)
    return result


def _filled(variable: Variable, value: float) -> Any:
    shape = variable.shape.as_list()
    return lambda: Constant(value, variable.dtype)(shape)


class GradientDescentOptimizer(Optimizer):
    """var -= lr * g"""

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name, learning_rate=learning_rate)

    def _update(self, g: Tensor, variable: Variable, **s: Any) -> Any:
        return variable.assign_sub(g * s["learning_rate"], self._use_locking)


class MomentumOptimizer(Optimizer):
    """m = momentum * m + g;  var -= lr * m,  or with use_nesterov  var -= lr * (g + momentum * m)"""

    def __init__(self, learning_rate: Any, momentum: Any, use_locking: bool = False, name: str = "Momentum",
                 use_nesterov: bool = False) -> None:
        super().__init__(use_locking, name, learning_rate=learning_rate, momentum=momentum)
        self._use_nesterov = use_nesterov

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        for v in variables:
            self._slot(v, "momentum")

    def _update(self, g: Tensor, variable: Variable, **s: Any) -> Any:
        slot = self._slot(variable, "momentum")
        m = slot.assign(slot * s["momentum"] + g)
        step = g + m * s["momentum"] if self._use_nesterov else m
        return variable.assign_sub(step * s["learning_rate"], self._use_locking)


class AdamOptimizer(Optimizer):
    """m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g^2;  var -= rate * m / (sqrt(v) + epsilon)

    rate = lr * sqrt(1 - b2^t) / (1 - b1^t), t being the number of this step, from 1

    Source: Kingma and Ba 2015, the form before section 2.1: epsilon is not corrected for the start.
    """

    def __init__(self, learning_rate: Any = 0.001, beta1: Any = 0.9, beta2: Any = 0.999, epsilon: Any = 1e-8,
                 use_locking: bool = False, name: str = "Adam") -> None:
        super().__init__(use_locking, name, learning_rate=learning_rate, beta1=beta1, beta2=beta2,
                         epsilon=epsilon)

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        first = min(variables, key=lambda v: v.name)
        for name in ("beta1", "beta2"):
            value = self._settings[name]
            value = value() if callable(value) else value
            plain = value if hasattr(value, "get_shape") else np.asarray(value, first.dtype.numpy)
            self._shared(f"{name}_power", plain)
        for v in variables:
            self._slot(v, "m")
            self._slot(v, "v")

    def _prepare(self) -> dict[str, Any]:
        settings = super()._prepare()
        b1, b2 = self._powers()
        rate = settings.pop("learning_rate")
        rate = cast_like(rate, b1) if isinstance(rate, Tensor) else rate
        return settings | {"rate": _sqrt(1 - b2) / (1 - b1) * rate}

    def _powers(self) -> tuple[Variable, Variable]:
        return self._shared("beta1_power", None), self._shared("beta2_power", None)

    def _update(self, g: Tensor, variable: Variable, **s: Any) -> Any:
        m_slot, v_slot = self._slot(variable, "m"), self._slot(variable, "v")
        m = m_slot.assign(m_slot * s["beta1"] + g * (1 - s["beta1"]))
        v = v_slot.assign(v_slot * s["beta2"] + _square(g) * (1 - s["beta2"]))
        return variable.assign_sub(m * s["rate"] / (_sqrt(v) + s["epsilon"]), self._use_locking)

    def _after(self, settings: dict[str, Any]) -> list[Any]:
        factors = [cast_like(settings[b], p) if isinstance(settings[b], Tensor) else settings[b]
                   for b, p in zip(("beta1", "beta2"), self._powers(), strict=True)]
        return [power.assign(power * f) for power, f in zip(self._powers(), factors, strict=True)]


class AdagradOptimizer(Optimizer):
    """a += g^2;  var -= lr * g / sqrt(a)"""

    def __init__(self, learning_rate: Any, initial_accumulator_value: float = 0.1, use_locking: bool = False,
                 name: str = "Adagrad") -> None:
        if initial_accumulator_value <= 0:
            raise ValueError(f"AdagradOptimizer: initial_accumulator_value must be positive, "
                             f"not {initial_accumulator_value}")
        super().__init__(use_locking, name, learning_rate=learning_rate)
        self._start = initial_accumulator_value

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        for v in variables:
            self._slot(v, "accumulator", _filled(v, self._start))

    def _update(self, g: Tensor, variable: Variable, **s: Any) -> Any:
        slot = self._slot(variable, "accumulator")
        a = slot.assign_add(_square(g))
        return variable.assign_sub(g * s["learning_rate"] / _sqrt(a), self._use_locking)


class AdadeltaOptimizer(Optimizer):
    """a = rho*a + (1-rho)*g^2;  d = g * sqrt(u + epsilon) / sqrt(a + epsilon);  var -= lr * d

    u = rho*u + (1-rho)*d^2 is updated after its use.
    """

    def __init__(self, learning_rate: Any = 0.001, rho: Any = 0.95, epsilon: Any = 1e-8,
                 use_locking: bool = False, name: str = "Adadelta") -> None:
        super().__init__(use_locking, name, learning_rate=learning_rate, rho=rho, epsilon=epsilon)

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        for v in variables:
            self._slot(v, "accum")
            self._slot(v, "accum_update")

    def _update(self, g: Tensor, variable: Variable, **s: Any) -> Any:
        accum, update = self._slot(variable, "accum"), self._slot(variable, "accum_update")
        before = update.value()
        a = accum.assign(accum * s["rho"] + _square(g) * (1 - s["rho"]))
        d = g * _sqrt(before + s["epsilon"]) / _sqrt(a + s["epsilon"])
        u = update.assign(before * s["rho"] + _square(d) * (1 - s["rho"]), read_value=False)
        with variable.graph.control_dependencies([u]):
            return variable.assign_sub(d * s["learning_rate"], self._use_locking)


class RMSPropOptimizer(Optimizer):
    """a = decay*a + (1-decay)*g^2;  m = momentum*m + lr * g / sqrt(a + epsilon);  var -= m

    With `centered`, c = decay*c + (1-decay)*g, and a - c^2 stands for a in the second formula.
    """

    def __init__(self, learning_rate: Any, decay: Any = 0.9, momentum: Any = 0.0, epsilon: Any = 1e-10,
                 use_locking: bool = False, centered: bool = False, name: str = "RMSProp") -> None:
        super().__init__(use_locking, name, learning_rate=learning_rate, decay=decay, momentum=momentum,
                         epsilon=epsilon)
        self._centered = centered

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        for v in variables:
            self._slot(v, "rms", _filled(v, 1.0))  # TF1 starts from ones
            if self._centered:
                self._slot(v, "mg")
            self._slot(v, "momentum")

    def _update(self, g: Tensor, variable: Variable, **s: Any) -> Any:
        rms, momentum = self._slot(variable, "rms"), self._slot(variable, "momentum")
        a = rms.assign(rms * s["decay"] + _square(g) * (1 - s["decay"]))
        if self._centered:
            mean = self._slot(variable, "mg")
            a = a - _square(mean.assign(mean * s["decay"] + g * (1 - s["decay"])))
        m = momentum.assign(momentum * s["momentum"] + g * s["learning_rate"] / _sqrt(a + s["epsilon"]))
        return variable.assign_sub(m, self._use_locking)


class FtrlOptimizer(Optimizer):
    """Follow the regularized leader, with L1 and L2 regularization.

    n' = n + g^2;  z += g - (n'^-p - n^-p)/lr * var, p being learning_rate_power
    var = 0 where |z| <= l1, else (sign(z)*l1 - z) / (n'^-p/lr + 2*l2)
    Source: McMahan et al. 2013
    """

    def __init__(self, learning_rate: Any, learning_rate_power: float = -0.5,
                 initial_accumulator_value: float = 0.1, l1_regularization_strength: float = 0.0,
                 l2_regularization_strength: float = 0.0,
                 use_locking: bool = False, name: str = "Ftrl", accum_name: str | None = None,
                 linear_name: str | None = None, l2_shrinkage_regularization_strength: float = 0.0) -> None:
        super().__init__(use_locking, name, learning_rate=learning_rate, power=-learning_rate_power,
                         l1=l1_regularization_strength, l2=l2_regularization_strength,
                         shrinkage=l2_shrinkage_regularization_strength)
        self._start = initial_accumulator_value

    def _create_slots(self, variables: Sequence[Variable]) -> None:
        for v in variables:
            self._slot(v, "accum", _filled(v, self._start))
            self._slot(v, "linear")

    def _update(self, g: Tensor, variable: Variable, **s: Any) -> Any:
        accum, linear = self._slot(variable, "accum"), self._slot(variable, "linear")
        before, w = accum.value(), variable.value()
        n = accum.assign(before + _square(g))
        shrunk = g + w * (2 * s["shrinkage"])
        grown, was = n ** s["power"], before ** s["power"]
        z = linear.assign(linear + shrunk - (grown - was) / s["learning_rate"] * w)
        clipped = REGISTRY["maximum"](REGISTRY["minimum"](z, s["l1"]), -s["l1"])
        return variable.assign((clipped - z) / (grown / s["learning_rate"] + 2 * s["l2"]), self._use_locking)
