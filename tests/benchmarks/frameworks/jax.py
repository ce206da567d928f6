"""JAX: one jitted function; parameters stay on the device and are donated to the update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.workload import Arrays, Values, Workload


def build(workload: Workload, params: Arrays, data: Arrays, rate: float, cores: int) -> Callable[[], Any]:
    import jax

    if any(a.dtype == np.float64 for a in (*params.values(), *data.values())):
        jax.config.update("jax_enable_x64", True)

    def function(p: Any, d: Any) -> Any:
        return workload.jax(Values(p), Values(d))

    def gradient(p: Any, d: Any) -> Any:
        value, grads = jax.value_and_grad(function)(p, d)
        return [value, *(grads[k] for k in params)]

    p, d = jax.device_put((params, data))
    if workload.mode in ("forward", "gradient"):
        compiled = jax.jit(function if workload.mode == "forward" else gradient)
        return lambda: _finished(compiled(p, d))
    return _training(jax, workload, function, p, d, rate)


def _training(jax: Any, workload: Workload, loss: Any, p: Any, d: Any, rate: float) -> Callable[[], Any]:
    def differentiate(p: Any, d: Any) -> Any:
        return jax.value_and_grad(loss)(p, d)

    def sgd(state: Any, d: Any, rate: Any) -> Any:
        if hasattr(workload, "jax_step"):
            return workload.jax_step(Values(state), Values(d), rate)
        value, grads = differentiate(state, d)
        return value, jax.tree.map(lambda a, g: a - rate * g, state, grads)

    def adam(state: Any, d: Any, rate: Any) -> Any:
        p, m, v, t = state
        value, grads = differentiate(p, d)
        t = t + 1
        scale = rate * jax.numpy.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
        m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
        v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
        p = jax.tree.map(lambda a, m, v: a - scale * m / (jax.numpy.sqrt(v) + 1e-8), p, m, v)
        return value, (p, m, v, t)

    compiled = jax.jit(adam if workload.mode == "adam" else sgd, donate_argnums=0)
    zeros = jax.tree.map(jax.numpy.zeros_like, p)
    # a copy: donation must not take the arrays that were put from numpy's memory
    own = jax.tree.map(jax.numpy.array, p)
    slots = zeros, jax.tree.map(jax.numpy.array, zeros)
    box = [(own, *slots, np.float32(0)) if workload.mode == "adam" else own]
    speed = np.float32(rate)

    def step() -> Any:
        value, box[0] = compiled(box[0], d, speed)
        return value.block_until_ready()
    return step


def _finished(result: Any) -> Any:
    """Wait: the outputs of one program are ready together, and waiting for one of them is the cheapest."""
    (result[0] if isinstance(result, (list, tuple)) else result).block_until_ready()
    return result
