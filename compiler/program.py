"""Program: what the compiler hands to the runtime. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import Atom, Dim
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.loops.nest import LoopNest


@dataclass(frozen=True)
class Symbol:
    """Where a run-time integer comes from: a dim of a feed (axis), or an element of an integer feed."""

    feed: int
    axis: int | None = None
    element: int | None = None


@dataclass(frozen=True)
class Buffer:
    """Memory of a program.

    role   "feed", "output" (index: which), "state" (variable), "constant" (index), "key", or "arena"
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


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Program:
    """A compiled signature: LLVM IR and all that is needed to call it.

    symbols    every run-time integer, and where its value comes from
    guards     pairs taken for equal while compiling; broken, the program does not fit the feeds
    required   pairs that must be equal for the graph to make sense, and the operation that says so
    checks     what to report for each index check, by number
    """

    ir: str
    entry: str
    feeds: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    buffers: tuple[Buffer, ...]
    calls: tuple[Call, ...]
    copies: tuple[tuple[int, int], ...]
    constants: tuple[np.ndarray[Any, Any], ...]
    reads: tuple[VariableHandle, ...]
    writes: tuple[VariableHandle, ...]
    symbols: dict[Atom, Symbol]
    guards: tuple[tuple[Dim, Dim], ...]
    required: dict[tuple[Dim, Dim], str]
    checks: tuple[str, ...]
    uses_key: bool
    ops: int
    dumps: tuple[tuple[str, str], ...] = field(default=(), compare=False)
