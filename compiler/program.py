"""Program: what the compiler hands to the runtime. Plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import Any, TypeAlias

import numpy as np

from graphflow.compiler.ir.dims import Atom, Dim, substitute
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.loops.nest import LoopNest
from graphflow.compiler.records import record


@record
class Symbol:
    """Where a run-time integer comes from: a dim of a feed (axis), or an element of an integer feed.

    room   of an integer that is no feed's but a guess, how many rows to make room for: the checks that fail
           when it was too low
    guess  of one that the run computes and the program takes for a constant: the check that fails when it
           was another, by how much
    """

    feed: int
    axis: int | None = None
    element: int | None = None
    room: tuple[str, ...] = ()
    guess: str = ""


@record
class Buffer:
    """Memory of a program.

    role   "feed", "output" (index: which), "state" (variable), "constant" (index), "key", "arena",
           or "held" (index: which result of the setup)
    size   in elements
    first, last  the launches between which an arena buffer is in use
    name, source  the operation whose value it is, and where the user made it
    """

    role: str
    dtype: DType
    size: Dim
    index: int = 0
    variable: VariableHandle | None = None
    first: int = 0
    last: int = 0
    name: str = ""
    source: str = ""


@record
class Call:
    """One kernel launch: the function, its loop nest, and the buffers and integers it is given.

    source  where the user made the last of the operations that it fuses
    """

    function: str
    nest: LoopNest
    buffers: tuple[int, ...]
    symbols: tuple[Dim, ...]
    first_check: int
    fused: str
    ops: int
    kind: str
    extents: tuple[Dim, ...]
    work: int
    source: str = ""

    @property
    def integers(self) -> dict[Atom, Dim]:
        """What each of the kernel's run-time integers is in this call."""
        return dict(zip(self.nest.symbols, self.symbols, strict=True))

    @property
    def iterations(self) -> Dim:
        """Of the kernel's outermost statement."""
        return substitute(self.nest.iterations, self.integers)


@record
class Run:
    """One kernel launch, by its number among the calls."""

    call: int


@record
class Move:
    """Copy all of a buffer to another."""

    source: int
    target: int


@record
class Repeat:
    """test; while the bool in buffer `flag` holds: body; test."""

    test: tuple[Action, ...]
    flag: int
    body: tuple[Action, ...]


@record
class Branch:
    """`then` if the bool in buffer `flag` holds, else `otherwise`."""

    flag: int
    then: tuple[Action, ...]
    otherwise: tuple[Action, ...]


Action: TypeAlias = "Run | Move | Repeat | Branch"


def moves(steps: Sequence[Action]) -> list[Move]:
    """Every move within these steps, in order."""
    return [s for s in _all(steps) if isinstance(s, Move)]


def tested(steps: Sequence[Action]) -> list[Repeat | Branch]:
    """Every step within these that looks at a flag, in order."""
    return [s for s in _all(steps) if isinstance(s, (Repeat, Branch))]


def _all(steps: Sequence[Action]) -> Iterator[Action]:
    for s in steps:
        yield s
        if isinstance(s, Repeat):
            yield from _all((*s.test, *s.body))
        elif isinstance(s, Branch):
            yield from _all((*s.then, *s.otherwise))


@record
class Program:
    """A compiled signature: LLVM IR and all that is needed to call it.

    steps      the calls in the order in which they run, with moves, loops and branches between them
    symbols    every run-time integer, and where its value comes from
    guards     pairs taken for equal while compiling; broken, the program does not fit the feeds
    required   pairs that must be equal for the graph to make sense, and the operation that says so
    checks     what to report for each index check, by number
    alone      of the programs that say so, one at a time runs on a store of variables
    arena      offsets of the arena's buffers, and its bytes; None where they wait for the feeds' shapes
    setup      a program without feeds, whose outputs are the held buffers of this one
    """

    ir: str
    entry: str
    feeds: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    buffers: tuple[Buffer, ...]
    calls: tuple[Call, ...]
    steps: tuple[Action, ...]
    copies: tuple[tuple[int, int], ...]
    constants: tuple[np.ndarray[Any, Any], ...]
    reads: tuple[VariableHandle, ...]
    writes: tuple[VariableHandle, ...]
    symbols: dict[Atom, Symbol]
    guards: tuple[tuple[Dim, Dim], ...]
    required: dict[tuple[Dim, Dim], str]
    checks: tuple[str, ...]
    uses_key: bool
    alone: bool
    ops: int
    arena: tuple[tuple[int, ...], int] | None = None
    setup: Program | None = None
    dumps: tuple[tuple[str, str], ...] = field(default=(), compare=False)
