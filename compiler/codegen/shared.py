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
from graphflow.compiler.records import record

LEAST = 64  # statements: less code is not worth a call

Key: TypeAlias = "tuple[Loop, int, frozenset[str]]"  # a loop, a register's lanes, buffers past the cache


@record
class SharedLoop:
    """A loop as a function.

    nest   a kernel of the loop alone, with the buffers and run-time integers that it mentions
    outer  the indices of loops around it that it mentions
    """

    name: str
    loop: Loop
    nest: LoopNest
    outer: tuple[Atom, ...]


def key_of(loop: Loop, nest: LoopNest) -> Key:
    """What is equal for loops that may be one function."""
    return loop, nest.width, frozenset(p.name for p in nest.params if p.streamed)


def shared_loops(nests: Iterable[LoopNest]) -> dict[Key, SharedLoop]:
    """The large loops that several of the nests have."""
    first: dict[Key, LoopNest] = {}
    count: Counter[Key] = Counter()
    for nest in nests:
        keys = {key_of(loop, nest): nest for loop in _large(nest)}
        first = keys | first
        count.update(keys.keys())
    several = [key for key, number in count.items() if number > 1 and _is_closed(key[0])]
    return {key: _alone(key[0], first[key], f"gf.loop{k}") for k, key in enumerate(several)}


def _large(nest: LoopNest) -> Iterator[Loop]:
    """The large loops of a kernel, or in its outermost loops, but for one that is cut into parts."""
    for s in nest.body:
        if isinstance(s, Loop):
            inner = [i for i in s.body if isinstance(i, Loop)]
            yield from (i for i in (inner if nest.parallel else [s, *inner]) if len(i.inside) >= LEAST)


def _is_closed(loop: Loop) -> bool:
    """Whether a loop takes no value from around it, gives none, and cannot fail."""
    plain = all(isinstance(s, (Let, Store, Loop)) for s in loop.inside) and not loop.accumulators
    nodes = [n for root in expressions((loop,)) for n in E.walk(root)]
    plain = plain and not any(isinstance(s, Loop) and s.ahead for s in (loop, *loop.inside))
    names = {s.name for s in loop.inside if isinstance(s, Let)}
    names |= {a.name for s in loop.inside if isinstance(s, Loop) for a in s.accumulators}
    used = {n.attr for n in nodes if n.op == "temp"} | {a.name for a in _free(loop) if a.kind == "value"}
    return plain and used <= names and not any(map(E.complaint_of, nodes))


def _alone(loop: Loop, nest: LoopNest, name: str) -> SharedLoop:
    buffers = {n.attr[0] for n in loads((loop,))} | {s.buffer for s in loop.inside if isinstance(s, Store)}
    free = _free(loop)
    alone = replace(nest, params=tuple(p for p in nest.params if p.name in buffers),
                    symbols=tuple(a for a in nest.symbols if a in free), body=(loop,), parallel=False)
    return SharedLoop(name, loop, alone, tuple(sorted(a for a in free if a.kind == "axis")))


def _free(loop: Loop) -> set[Atom]:
    """What a loop's places and extents depend on, but for its own index and those of loops in it."""
    here = positions(tuple(s for s in loop.body if not isinstance(s, Loop)))
    here += [d for a in loop.accumulators for n in E.walk(a.value) for d in E.dims_of(n)]
    found = {a for d in dict.fromkeys(here) for a in atoms_of(d)}
    inner = [_free(s) for s in loop.body if isinstance(s, Loop)]
    return found.union(*inner) - {loop.axis} | atoms_of(loop.extent)
