"""Reverse-mode derivatives in float64 numpy, for references only: it shares nothing with what it judges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Pull = Callable[[np.ndarray], np.ndarray]
_erf = np.frompyfunc(math.erf, 1, 1)


class Node:
    """A float64 array which remembers how it was made."""

    __array_priority__ = 1  # numpy arrays on the left leave the operation to us
    __array_ufunc__ = None
    made = 0

    def __init__(self, value: Any, *parents: tuple[Node, Pull], leaf: bool = False) -> None:
        self.value = np.asarray(value, np.float64)
        self.parents = tuple(p for p in parents if p[0].needed)
        self.needed = leaf or bool(self.parents)
        Node.made += 1
        self.order = Node.made

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def __add__(self, other: Any) -> Node:
        o = node(other)
        return Node(self.value + o.value, (self, _fit(self)), (o, _fit(o)))

    def __sub__(self, other: Any) -> Node:
        return self + -node(other)

    def __rsub__(self, other: Any) -> Node:
        return -self + other

    def __neg__(self) -> Node:
        return self * -1.0

    def __mul__(self, other: Any) -> Node:
        a, b = self, node(other)
        return Node(a.value * b.value, (a, _fit(a, b.value)), (b, _fit(b, a.value)))

    def __truediv__(self, other: Any) -> Node:
        return self * node(other) ** -1.0

    __radd__ = __add__
    __rmul__ = __mul__

    def __pow__(self, power: float) -> Node:
        return Node(self.value ** power, (self, lambda g: g * power * self.value ** (power - 1)))

    def __matmul__(self, other: Any) -> Node:
        a, b = self, node(other)
        return Node(a.value @ b.value,
                    (a, lambda g: _shrink(g @ np.swapaxes(b.value, -1, -2), a.shape)),
                    (b, lambda g: _shrink(np.swapaxes(a.value, -1, -2) @ g, b.shape)))

    def __getitem__(self, index: Any) -> Node:
        def pull(g: np.ndarray) -> np.ndarray:
            out = np.zeros(self.shape)
            np.add.at(out, index, g)
            return out
        return Node(self.value[index], (self, pull))

    def reshape(self, *shape: int) -> Node:
        return Node(self.value.reshape(shape), (self, lambda g: g.reshape(self.shape)))

    def transpose(self, *axes: int) -> Node:
        return Node(self.value.transpose(axes), (self, lambda g: g.transpose(np.argsort(axes))))

    def sum(self, axis: Any = None, keepdims: bool = False) -> Node:
        kept = self.value.sum(axis, keepdims=True)
        return Node(kept if keepdims else self.value.sum(axis),
                    (self, lambda g: np.broadcast_to(g.reshape(kept.shape), self.shape)))

    def mean(self, axis: Any = None, keepdims: bool = False) -> Node:
        total = self.sum(axis, keepdims)
        return total * (total.value.size / self.value.size)


def node(value: Any) -> Node:
    return value if isinstance(value, Node) else Node(value)


def gradients(y: Node, xs: Sequence[Node]) -> list[np.ndarray]:
    """dy/dx for each x; y is a scalar."""
    found, stack = {y}, [y]
    while stack:
        fresh = {p for p, _ in stack.pop().parents} - found
        found |= fresh
        stack += fresh
    sums: dict[Node, Any] = {y: np.ones(())}
    for n in sorted(found, key=lambda n: -n.order):
        g = sums[n] if n in xs else sums.pop(n)
        for parent, pull in n.parents:
            sums[parent] = sums.get(parent, 0.0) + pull(g)
    return [np.broadcast_to(sums.get(x, 0.0), x.shape) for x in xs]


def exp(x: Node) -> Node:
    y = np.exp(x.value)
    return Node(y, (x, lambda g: g * y))


def log(x: Node) -> Node:
    return Node(np.log(x.value), (x, lambda g: g / x.value))


def tanh(x: Node) -> Node:
    y = np.tanh(x.value)
    return Node(y, (x, lambda g: g * (1 - y * y)))


def sigmoid(x: Node) -> Node:
    return (1.0 + exp(-x)) ** -1.0


def erf(x: Any) -> Any:
    """Of a node, or of a numpy array."""
    if not isinstance(x, Node):
        return _erf(x).astype(np.float64)
    slope = 2 / math.sqrt(math.pi) * np.exp(-x.value ** 2)
    return Node(erf(x.value), (x, lambda g: g * slope))


def gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + erf(x * math.sqrt(0.5)))


def relu(x: Node) -> Node:
    return Node(np.maximum(x.value, 0), (x, lambda g: g * (x.value > 0)))


def maximum_over(x: Node, axis: int) -> Node:
    """The largest along an axis; the gradient goes to the first of equals."""
    first = np.expand_dims(x.value.argmax(axis), axis)

    def pull(g: np.ndarray) -> np.ndarray:
        out = np.zeros(x.shape)
        np.put_along_axis(out, first, np.expand_dims(g, axis), axis)
        return out
    return Node(np.take_along_axis(x.value, first, axis).squeeze(axis), (x, pull))


def log_softmax(x: Node) -> Node:
    shifted = x - x.value.max(-1, keepdims=True)
    return shifted - log(exp(shifted).sum(-1, keepdims=True))


def cross_entropy(logits: Node, labels: np.ndarray) -> Node:
    """The mean of -log_softmax at the labels."""
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


def layer_norm(x: Any, scale: Any, offset: Any, epsilon: float = 1e-5) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred * ((centred * centred).mean(-1, keepdims=True) + epsilon) ** -0.5 * scale + offset


def windows(x: Node, size: int, stride: int = 1, low: int = 0, high: int = 0, fill: float = 0.0) -> Node:
    """The square windows of images: [b, h, w, c] -> [b, oh, ow, size, size, c]"""
    edges = ((0, 0), (low, high), (low, high), (0, 0))
    padded = np.pad(x.value, edges, constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]
    oh, ow = seen.shape[1:3]

    def pull(g: np.ndarray) -> np.ndarray:
        out = np.zeros(padded.shape)
        for i in range(size):
            for j in range(size):
                out[:, i:i + stride * oh:stride, j:j + stride * ow:stride] += g[:, :, :, i, j]
        return out[:, low:out.shape[1] - high, low:out.shape[2] - high]
    return Node(seen.transpose(0, 1, 2, 4, 5, 3), (x, pull))


def convolve(x: Node, filters: Node, stride: int = 1) -> Node:
    """Cross-correlation with TF's SAME padding: [b, h, w, in], [k, k, in, out]"""
    size, _, channels, out = filters.shape
    missing = max((-(-x.shape[1] // stride) - 1) * stride + size - x.shape[1], 0)
    seen = windows(x, size, stride, missing // 2, missing - missing // 2)
    flat = seen.reshape(*seen.shape[:3], size * size * channels)
    return flat @ filters.reshape(size * size * channels, out)


def convolve_each(x: Node, filters: Node, stride: int = 1) -> Node:
    """The same for each channel by itself: [b, h, w, c], [k, k, 1, c]"""
    size, _, _, channels = filters.shape
    missing = max((-(-x.shape[1] // stride) - 1) * stride + size - x.shape[1], 0)
    seen = windows(x, size, stride, missing // 2, missing - missing // 2)
    return (seen * filters.reshape(size, size, channels)).sum((3, 4))


def max_pool(x: Node, size: int, stride: int, low: int = 0, high: int = 0) -> Node:
    seen = windows(x, size, stride, low, high, -np.inf)
    b, oh, ow, _, _, channels = seen.shape
    return maximum_over(seen.reshape(b, oh, ow, size * size, channels), 3)


def _fit(x: Node, factor: Any = 1.0) -> Pull:
    return lambda g: _shrink(g * factor, x.shape)


def _shrink(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the axes along which a value of `shape` was repeated."""
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(k for k, n in enumerate(shape) if n == 1 and g.shape[k] != 1), keepdims=True)
