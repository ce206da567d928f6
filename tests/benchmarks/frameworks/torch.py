"""PyTorch, eager and compiled: no gradients where nothing is learnt, fused Adam, images channels last."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.workload import Arrays, Values, Workload


def eager(workload: Workload, params: Arrays, data: Arrays, rate: float, cores: int) -> Callable[[], Any]:
    return _build(workload, params, data, rate, cores, compiled=False)


def compiled(workload: Workload, params: Arrays, data: Arrays, rate: float, cores: int) -> Callable[[], Any]:
    return _build(workload, params, data, rate, cores, compiled=True)


def _build(workload: Workload, params: Arrays, data: Arrays, rate: float, cores: int, *,
           compiled: bool) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(cores)
    if torch.get_num_interop_threads() != 1:  # it may be set once
        torch.set_num_interop_threads(1)
    learn = workload.mode != "forward"
    p = {k: _parameter(torch, v, workload.images).requires_grad_(learn) for k, v in params.items()}
    d = {k: _datum(torch, v, workload.images) for k, v in data.items()}

    torch.set_grad_enabled(learn)
    function, p, d = workload.torch, Values(p), Values(d)
    if compiled:
        torch._dynamo.reset()  # beyond 8 functions of the same code it would quietly stop compiling
        function = torch.compile(function, dynamic=False)
    if not learn:
        return functools.partial(function, p, d)
    return _learning(torch, workload, function, p, d, rate)


def _learning(torch: Any, workload: Workload, function: Any, p: Any, d: Any,
              rate: float) -> Callable[[], Any]:
    if workload.mode == "gradient":
        def gradient() -> Any:
            value = function(p, d)
            return [value, *torch.autograd.grad(value, list(p.values()))]
        return gradient
    kind = torch.optim.Adam if workload.mode == "adam" else torch.optim.SGD
    sparse = workload.sparse  # the fused kinds take no sparse gradients
    optimizer = kind(list(p.values()), lr=rate, **({} if sparse else {"fused": True}))

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        value = function(p, d)
        value.backward()
        optimizer.step()
        return value.detach()
    return step


def _parameter(torch: Any, array: np.ndarray, images: bool) -> Any:
    """Filters [k, k, in, out] become [out, in, k, k], channels last in memory."""
    if not images or array.ndim != 4:
        return torch.from_numpy(array.copy())
    return torch.from_numpy(np.ascontiguousarray(array.transpose(3, 0, 1, 2))).permute(0, 3, 1, 2)


def _datum(torch: Any, array: np.ndarray, images: bool) -> Any:
    tensor = torch.from_numpy(array)
    if tensor.dtype == torch.int32:
        tensor = tensor.long()
    return tensor.permute(0, 3, 1, 2) if images and array.ndim == 4 else tensor
