"""Shared loops: what stands in several kernels alike becomes a function that they call.

Convolutions of one shape transform patches alike, whatever follows on their sums, and the loop that does so
is most of their code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from graphflow.compiler.ir.dims import Atom, atoms_of
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.nest import Let, Loop, LoopNest, Store, expressions, loads, positions

LEAST = 64  # statements: less code is not worth a call

Key: TypeAlias = "tuple[Loop, int]"  # a loop, and the lanes of a register


def shared_loops(nests: Iterable[LoopNest]) -> dict[Key, str]:
    """The large loops that several of the nests have, and a name for the function of each."""
    count = Counter(key for nest in nests for key in {(loop, nest.width): None for loop in _large(nest)})
    several = [key for key, number in count.items() if number > 1]
    return {key: f"gf.loop{k}" for k, key in enumerate(several)}


def alone(loop: Loop, nest: LoopNest) -> LoopNest:
    """A loop of a nest as one of its own, with the buffers and run-time integers that it mentions."""
    names, atoms = _buffers(loop), _atoms(loop)
    return replace(nest, params=tuple(p for p in nest.params if p.name in names),
                   symbols=tuple(a for a in nest.symbols if a in atoms), body=(loop,), parallel=False)


def indices_around(loop: Loop, known: Iterable[Atom]) -> list[Atom]:
    """Of the indices of loops, those that a loop in them mentions."""
    return sorted(_atoms(loop).intersection(known))


def _large(nest: LoopNest) -> Iterator[Loop]:
    """The loops of a kernel, or of its outermost loops, that may be functions: not what is cut into parts."""
    streamed = {p.name for p in nest.params if p.streamed}
    for s in nest.body:
        if isinstance(s, Loop):
            inner = [i for i in s.body if isinstance(i, Loop)]
            for loop in inner if nest.parallel else [s, *inner]:
                if len(loop.inside) >= LEAST and _is_closed(loop) and streamed.isdisjoint(_buffers(loop)):
                    yield loop


def _is_closed(loop: Loop) -> bool:
    """Whether a loop takes no value from around it, gives none, and cannot fail."""
    plain = all(isinstance(s, (Let, Store, Loop)) for s in loop.inside) and not loop.accumulators
    nodes = [n for root in expressions((loop,)) for n in E.walk(root)]
    names = {s.name for s in loop.inside if isinstance(s, Let)}
    names |= {a.name for s in loop.inside if isinstance(s, Loop) for a in s.accumulators}
    used = {n.attr for n in nodes if n.op == "temp"} | {a.name for a in _atoms(loop) if a.kind == "value"}
    return plain and used <= names and not any(map(E.complaint_of, nodes))


def _buffers(loop: Loop) -> set[str]:
    stores = {s.buffer for s in loop.inside if isinstance(s, Store)}
    return stores | {n.attr[0] for n in loads((loop,))}


def _atoms(loop: Loop) -> set[Atom]:
    extents = [s.extent for s in (loop, *loop.inside) if isinstance(s, Loop)]
    return {a for d in (*positions((loop,)), *extents) for a in atoms_of(d)}
