"""What `band` and `images` share: kernels joined into one, which takes a unit after another through them all.

A unit is a band of rows, or an image. What goes from one stage to the next is then scratch of one unit for
each thread, and stays in the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

from graphflow.compiler.ir.dims import Dim, maximum
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.forms import Piece
from graphflow.compiler.passes.launch import Memory
from graphflow.compiler.target import Target

STAGES = 16  # of a kernel: longer ones compile slowly
PASSES = 3   # what a tensor in memory costs by its size: written, first fetched, and read
NEAR = 4     # how much faster right sides come from a cache that all cores share than from memory


def traffic_saved(between: Iterable[int], right: Sequence[int], units: int, target: Target) -> float:
    """Bytes of memory traffic less where what goes between stages stays in the cache.

    between, right  bytes of each tensor that goes between, and of each product's right side, which all units
                    read; of neither counts what a core's own cache holds
    """
    saved = PASSES * sum(size for size in between if size > target.l2)
    again = sum(size for size in right if size > target.l2) * (units - 1)
    return saved - again / (NEAR if 2 * sum(right) <= target.l3 else 1)


def turns(made: Iterable[Sequence[Tensor]], last: Mapping[Tensor, int],
          overwrites: Callable[[int, Tensor, Tensor], bool]) -> list[list[Tensor]]:
    """Tensors by the pieces of memory that they take turns in: few of them.

    made        the tensors that each stage makes
    last        the number of the last stage that needs a tensor: after it another of that dtype may follow
    overwrites  (stage, old, new) whether the stage may write over what it is the last to need
    """
    pieces: list[list[Tensor]] = []
    for k, tensors in enumerate(made):
        for t in tensors:
            free = (p for p in pieces if p[-1].dtype is t.dtype and (
                last[p[-1]] < k or (last[p[-1]] == k and overwrites(k, p[-1], t))))
            piece = next(free, None)
            if piece is None:
                pieces.append([t])
            else:
                piece.append(t)
    return pieces


def largest(piece: Sequence[Tensor], sizes: Mapping[Tensor, Dim]) -> Dim:
    """The size of memory that holds each of these in its turn."""
    return functools.reduce(maximum, (sizes[t] for t in piece))


def rooms(memory: Memory, pieces: Iterable[Sequence[Tensor]],
          sizes: Mapping[Tensor, Dim]) -> dict[Tensor, Piece]:
    """Scratch for what takes turns, and has so many elements of a unit."""
    return {t: place for piece in pieces
            for place in [memory.room(piece[0].dtype, largest(piece, sizes), memory.rooms)] for t in piece}
