"""The float64 reference: TF1's gradient descent and Adam on `tape`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.benchmarks import tape
from tests.benchmarks.workload import Arrays, Values, Workload


def outputs(workload: Workload, params: Arrays, data: Arrays, rate: float) -> list[list[np.ndarray]]:
    """What each of the first steps gives."""
    if workload.mode == "forward":
        result = workload.reference(Values(_wide(params)), Values(_wide(data)))
        return [[np.asarray(r) for r in (result if isinstance(result, (tuple, list)) else [result])]]
    values, slots, steps = _wide(params), {k: [0.0, 0.0] for k in params}, []
    for t in range(1, workload.checked_steps + 1):
        leaves = {k: tape.Node(v, leaf=True) for k, v in values.items()}
        loss = workload.reference(Values(leaves), Values(_wide(data)))
        grads = dict(zip(leaves, tape.gradients(loss, list(leaves.values())), strict=True))
        steps.append([loss.value, *(grads.values() if workload.mode == "gradient" else ())])
        for k, g in grads.items():
            values[k] = values[k] - rate * (_adam(slots[k], g, t) if workload.mode == "adam" else g)
    return steps


def _wide(arrays: Arrays) -> dict[str, Any]:
    return {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in arrays.items()}


def _adam(slot: list[Any], g: np.ndarray, t: int) -> np.ndarray:
    slot[:] = [0.9 * slot[0] + 0.1 * g, 0.999 * slot[1] + 0.001 * g * g]
    scale = np.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
    return scale * slot[0] / (np.sqrt(slot[1]) + 1e-8)
