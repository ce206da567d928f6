"""stream: large results are written past the cache."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.nest import LoopNest, Product, Store, loads, statements
from graphflow.compiler.passes.launch import Launch
from graphflow.compiler.target import Target


def stream(launch: Launch, target: Target) -> Launch:
    """Mark the buffers that are too large for what a core has of the last cache.

    A store past the cache saves reading the line first: a third of the traffic of y = -x. All that a kernel
    writes starts at a cache line, as such stores want.
    """
    nest, large = launch.nest, set[str]()
    for p, t in zip(nest.params, launch.arguments, strict=True):
        size = t.type.size if isinstance(t, Tensor) else t.size
        if p.written and isinstance(size, int) and size * p.dtype.size >= target.l3 // 2:
            large.add(p.name)
    if not large:
        return launch
    large -= _read_or_added_to(nest)
    params = tuple(replace(p, streamed=True) if p.name in large else p for p in nest.params)
    return replace(launch, nest=replace(nest, params=params))


def _read_or_added_to(nest: LoopNest) -> set[str]:
    found = {n.attr[0] for n in loads(nest.body)}
    for s in statements(nest.body):
        if isinstance(s, Product):
            found |= {s.a, s.b, s.out}
        elif isinstance(s, Store) and s.add:
            found.add(s.buffer)
    return found
