"""Convolution and its gradients in numpy: one element of the filters at a time, for all windows at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ops.windows import cropped, number, pad_array, padded_zeros, parts, slides


def _grouped(x: Any, groups: int) -> Any:
    """[..., c] -> [groups, rows, c / groups]"""
    return np.moveaxis(x.reshape(-1, groups, x.shape[-1] // groups), 1, 0)


def _ungrouped(x: Any, dims: Any) -> Any:
    return np.moveaxis(x, 0, 1).reshape(*dims, x.shape[0] * x.shape[2])


def _computing(*arrays: Any) -> Any:
    """Half types are summed as float32."""
    half = arrays[0].dtype.itemsize == 2 and arrays[0].dtype.kind not in "iu"
    return [a.astype(np.float32) if half else a for a in arrays]


def convolution_numpy(x: Any, filters: Any, groups: int, **attrs: Any) -> Any:
    x, filters = _computing(x, filters)
    found = slides(x.shape[1:-1], filters.shape[:-2], attrs)
    dims = (x.shape[0], *(number(s.count) for s in found))
    padded, result = pad_array(x, found), np.zeros((*dims, filters.shape[-1]), x.dtype)
    if result.size and x.size:
        for u, cut in parts(found):
            result += _ungrouped(_grouped(padded[cut], groups) @ _grouped(filters[u], groups), dims)
    return result


def input_grad_numpy(g: Any, filters: Any, shape: Any, groups: int, called: str, **attrs: Any) -> Any:
    g, filters = _computing(g, filters)
    found = slides(shape, filters.shape[:-2], attrs)
    result = padded_zeros(g.shape[0], found, filters.shape[-2] * groups, g.dtype)
    if result.size and g.size:
        for u, cut in parts(found):
            back = np.swapaxes(_grouped(filters[u], groups), 1, 2)
            result[cut] += _ungrouped(_grouped(g, groups) @ back, g.shape[:-1])
    return cropped(result, found)


def filter_grad_numpy(x: Any, g: Any, shape: Any, groups: int, called: str, **attrs: Any) -> Any:
    x, g = _computing(x, g)
    found = slides(x.shape[1:-1], shape, attrs)
    result = np.zeros((*shape, x.shape[-1] // groups, g.shape[-1]), x.dtype)
    padded = pad_array(x, found)
    if result.size and g.size:
        for u, cut in parts(found):
            rows = np.swapaxes(_grouped(padded[cut], groups), 1, 2)
            result[u] = _ungrouped(rows @ _grouped(g, groups), result.shape[-2:-1])
    return result
