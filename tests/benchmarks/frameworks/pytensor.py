"""PyTensor with its numba linker: parameters are shared variables, inputs are taken on trust."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.workload import Arrays, Values, Workload


def build(workload: Workload, params: Arrays, data: Arrays, rate: float, cores: int) -> Callable[[], Any]:
    import pytensor
    import pytensor.tensor as pt

    shared = {k: pytensor.shared(v.copy(), name=k, borrow=True) for k, v in params.items()}
    inputs = {k: pt.tensor(k, dtype=v.dtype, shape=v.shape) for k, v in data.items()}
    outputs, updates = _outputs(pytensor, pt, workload, Values(shared), Values(inputs), rate)
    listed = [pytensor.Out(o, borrow=True) for o in outputs]
    function = pytensor.function(list(inputs.values()), listed, updates=updates, mode="NUMBA")
    function.trust_input = True
    return functools.partial(function, *data.values())


def _outputs(pytensor: Any, pt: Any, workload: Workload, p: Values, d: Values,
             rate: float) -> tuple[list[Any], list[Any]]:
    speed = pytensor.shared(np.float32(rate))
    if hasattr(workload, "pytensor_step"):
        value, updates = workload.pytensor_step(p, d, speed)
        return [value], updates
    value = workload.pytensor(p, d)
    if workload.mode == "forward":
        return (list(value) if isinstance(value, (list, tuple)) else [value]), []
    grads = pytensor.grad(value, list(p.values()))
    if workload.mode == "gradient":
        return [value, *grads], []
    make = _adam if workload.mode == "adam" else _sgd
    return [value], make(pytensor, pt, list(p.values()), grads, speed)


def _sgd(pytensor: Any, pt: Any, params: list[Any], grads: list[Any], rate: Any) -> list[Any]:
    return [(p, p - rate * g) for p, g in zip(params, grads, strict=True)]


def _adam(pytensor: Any, pt: Any, params: list[Any], grads: list[Any], rate: Any) -> list[Any]:
    t = pytensor.shared(np.float32(0))
    now = t + np.float32(1)
    one, b1, b2 = (np.float32(c) for c in (1, 0.9, 0.999))
    scale = rate * pt.sqrt(one - b2 ** now) / (one - b1 ** now)
    updates = [(t, now)]
    for p, g in zip(params, grads, strict=True):
        m, v = (pytensor.shared(np.zeros_like(p.get_value(borrow=True)), borrow=True) for _ in range(2))
        new_m, new_v = b1 * m + (one - b1) * g, b2 * v + (one - b2) * g * g
        updates += [(m, new_m), (v, new_v), (p, p - scale * new_m / (pt.sqrt(new_v) + np.float32(1e-8)))]
    return updates
