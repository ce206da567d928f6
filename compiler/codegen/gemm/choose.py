"""Which form, register tile and blocking a product gets: a function of its shape and the target alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from graphflow.compiler.codegen.gemm.terms import Terms
from graphflow.compiler.loops.blocking import Blocking, Dots
from graphflow.compiler.loops.view import View
from graphflow.compiler.target import Target

DEPTH = {4: 384, 8: 256}  # elements of k in a block, by size: long enough to hide the adding to C
GROUPED_DEPTH = 512       # groups of k in a block: against so little work, adding to C costs more
DOT_DEPTH = 4096          # a float sum's rounding grows with the run of additions to one lane
BLOCK_COLUMNS = 1024
UNKNOWN = 1024            # what a run-time extent is taken for
LEAST_SHARED = 1 << 18    # multiply-adds: smaller products are not cut for threads
FEW_ROWS = 16             # up to that, nothing pays for packing B in each run
LEFT_IN_PLACE = {1: FEW_ROWS, 2: 6, 4: 1}  # the same by elements in a group, where B left in place is widened
CLOSE = 256               # bytes of a row of B that are read as fast where they lie: about a panel


@dataclass(frozen=True)
class Extents:
    """A product's sizes; None where a dim is a run-time integer."""

    terms: Terms
    m: int | None
    n: int | None
    k: int | None
    transpose_a: bool
    transpose_b: bool
    view: View | None = None

    @property
    def size(self) -> int:
        """Bytes of a sum."""
        return self.terms.sum.size

    @property
    def bytes_of_a(self) -> int | None:
        """If they are known."""
        return None if self.m is None or self.k is None else self.m * self.k * self.terms.a.size

    @property
    def bytes_of_b(self) -> int | None:
        return None if self.k is None or self.n is None else self.k * self.n * self.terms.b.size


def choose(e: Extents, target: Target, ahead: bool = False) -> Blocking | Dots:
    """Dot products for few rows of A and a transposed B; else register tiles.

    ahead  B may be packed ahead of the run, where that makes it faster
    """
    width = max(1, target.vector_bits // (8 * e.size))
    group = e.terms.grouped(target).group
    few = e.m is not None and e.m <= FEW_ROWS
    ahead = ahead and _gains_by_panels(e, few, target)
    if e.view is not None:
        return _for_view(e, e.view, width, ahead, target)
    if ahead:
        return _in_tiles(e, width, group, True, target)
    rows_along_k = e.transpose_b and not e.transpose_a and few and (e.k is None or e.k >= 4 * width)
    if rows_along_k or e.m == e.n == 1:
        assert e.m is not None
        rows = -(-e.m // -(-e.m // 4)) if e.m else 1
        return Dots(width, rows, min(4, width), DOT_DEPTH, _parts(e, target, False, False), group=group)
    if _has_few_columns(e, width):
        assert e.n is not None and e.k is not None
        return Dots(width, 4, e.n, DOT_DEPTH, _parts(e, target, False, True), True, e.n * e.k, group)
    if not e.transpose_b and e.m is not None and e.m <= LEFT_IN_PLACE[group]:
        return _few_rows(e, width, target)
    return _in_tiles(e, width, group, False, target)


def _gains_by_panels(e: Extents, few: bool, target: Target) -> bool:
    """Whether B is read faster from panels: not if its rows lie close together in the cache."""
    if e.m == 1 or not e.n or not e.k or e.terms.b is not e.terms.sum:
        return False
    return (e.n * e.terms.b.size > CLOSE or (e.transpose_b and not few)
            or not _at_most(e.bytes_of_b, target.l2))


def _in_tiles(e: Extents, width: int, group: int, ahead: bool, target: Target) -> Blocking:
    narrow_b = e.terms.b is not e.terms.sum
    pack_b = not ahead and (e.transpose_b or narrow_b or not _at_most(e.bytes_of_b, target.l2))
    rows, vecs = _tile(e, width, target)
    depth = _block(e.k, DEPTH[e.size] if group == 1 else GROUPED_DEPTH * group, 8)
    pack_a = e.terms.a is not e.terms.sum or not (
        _at_most(e.bytes_of_a, target.l2) or _at_most(e.n, 2 * vecs * width)
        or (e.m is None and (_at_most(e.n, 512) or _at_most(e.k, 512))))
    tiles = max(1, target.l2 // 4 // (depth // group * rows * e.size))
    panels = -(-_block(e.n, BLOCK_COLUMNS, 1) // (vecs * width))
    return Blocking(width, rows, vecs, depth, tiles, panels, pack_a, pack_b,
                    _parts(e, target, pack_a, pack_b), group, ahead)


def _for_view(e: Extents, view: View, width: int, ahead: bool, target: Target) -> Blocking:
    """Register tiles within the runs of rows, read where they lie, and blocks of whole runs along k."""
    run, unit = view.rows.length, view.along.length
    rows, vecs = _tile(replace(e, m=run), width, target)
    depth = unit if unit >= DEPTH[e.size] else _block(e.k, DEPTH[e.size] // unit * unit, unit)
    tiles = max(1, target.l2 // 4 // (depth * rows * e.size))
    panels = -(-_block(e.n, BLOCK_COLUMNS, 1) // (vecs * width))
    pack_b = not (ahead or _at_most(e.bytes_of_b, target.l2))
    return Blocking(width, rows, vecs, depth, tiles, panels, False, pack_b,
                    _parts(e, target, False, pack_b), ahead=ahead)


def _has_few_columns(e: Extents, width: int) -> bool:
    """Whether vectors of columns would be mostly empty, and those along k are not."""
    return (e.n is not None and e.n <= min(4, width) and e.k is not None and 4 * width <= e.k <= DOT_DEPTH
            and (e.m is None or e.m > FEW_ROWS) and not (e.transpose_a or e.transpose_b))


def _at_most(size: int | None, limit: int) -> bool:
    return size is not None and size <= limit


def _block(extent: int | None, most: int, unit: int) -> int:
    """Blocks of nearly equal size."""
    if extent is None or extent == 0:
        return most
    each = -(-extent // -(-extent // most))
    return -(-each // unit) * unit


def _accumulators(target: Target) -> int:
    """Vectors of a register tile: half of 16 registers, or three quarters of 32, hold it."""
    return 24 if target.vector_bits >= 512 else 12


def _few_rows(e: Extents, width: int, target: Target) -> Blocking:
    """B is read where it lies, once: by wide tiles, or where it comes from memory, in long runs."""
    assert e.m is not None
    streaming = not _at_most(e.bytes_of_b, target.l3 // 2)
    room, vectors = _accumulators(target), -(-e.n // width) if e.n is not None else 8
    rows = -(-e.m // -(-e.m // min(8, room))) if e.m else 1
    vecs = max(1, min(vectors, 4 if streaming else 12, room // rows))
    depth = 8 if streaming else _block(e.k, DEPTH[e.size], 8)
    panels = 1 << 20 if streaming else -(-BLOCK_COLUMNS // (vecs * width))
    return Blocking(width, rows, vecs, depth, max(1, -(-e.m // rows)), panels,
                    e.terms.a is not e.terms.sum, False, _parts(e, target, False, False))


def _parts(e: Extents, target: Target, pack_a: bool, pack_b: bool) -> tuple[int, int]:
    """A part for each thread, cut so that the least is read and packed more than once."""
    m, n, k = (UNKNOWN if d is None else d for d in (e.m, e.n, e.k))
    if target.threads == 1 or m * n * k < LEAST_SHARED:
        return 1, 1
    cuts = [(d, target.threads // d) for d in range(1, target.threads + 1) if target.threads % d == 0]
    fitting = [(d, a) for d, a in cuts if d <= max(m // 8, 1) and a <= max(n // 32, 1)] or [(1, 1)]
    return min(fitting, key=lambda c: c[0] * n * (3 if pack_b else 1) + c[1] * m * (3 if pack_a else 1))


def _tile(e: Extents, width: int, target: Target) -> tuple[int, int]:
    """The register tile with the least estimated time for all tiles of the product."""
    if e.m == 0 or e.n == 0:
        return 1, 1
    return min(_candidates(e, width, target), key=lambda t: _time(e, width, *t))


def _candidates(e: Extents, width: int, target: Target) -> Iterator[tuple[int, int]]:
    """Tiles that the registers hold; few heights where the rows are not known, and all of those get made."""
    room = _accumulators(target)
    for vecs in (1, 2, 3, 4):
        if e.n is None or vecs <= -(-e.n // width):
            most = room // vecs
            heights = range(most, most // 2, -1) if e.m is not None else (8 if most >= 8 else 4,)
            yield from ((rows, vecs) for rows in heights)


def _time(e: Extents, width: int, rows: int, vecs: int) -> float:
    """In multiply-adds of a vector, per element of k; each further tile to compile counts as some more."""
    m, vectors = e.m or 64 * rows, -(-e.n // width) if e.n else 12
    tiles = -(-m // rows)
    panels, rest = divmod(vectors, vecs)
    each = _tile_time(-(-m // tiles), vecs), _tile_time(-(-m // tiles), rest) if rest else 0
    kinds = (1 + (m % tiles != 0)) * ((panels > 0) + (rest > 0))
    return tiles * (panels * each[0] + each[1]) * (1 + 0.03 * (kinds - 1))


def _tile_time(rows: int, vecs: int) -> float:
    """A tile is bound by its multiply-adds, by its loads, or by the latency of eight chains."""
    return max(rows * vecs, rows + vecs, 8) + 0.25 * (rows + vecs) + 1
