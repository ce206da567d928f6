"""Which form, register tile and blocking a product gets: a function of its shape and the target alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from graphflow.compiler.codegen.gemm import costs
from graphflow.compiler.codegen.gemm.terms import Terms
from graphflow.compiler.loops.blocking import SEVERAL, Blocking, ByRows, Chunks, Dots, FewRows, Form
from graphflow.compiler.loops.view import View
from graphflow.compiler.records import record
from graphflow.compiler.target import Target

F = TypeVar("F", Blocking, Dots)


@record
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
    def is_plain(self) -> bool:
        """Whether the operands are matrices of the sums' dtype."""
        return self.view is None and self.terms.a is self.terms.b is self.terms.sum

    @property
    def bytes_of_a(self) -> int | None:
        """If they are known."""
        return None if self.m is None or self.k is None else self.m * self.k * self.terms.a.size

    @property
    def bytes_of_b(self) -> int | None:
        return None if self.k is None or self.n is None else self.k * self.n * self.terms.b.size


def choose(e: Extents, target: Target, ahead: bool = False) -> Form:
    """How to compute a product: in chunks of k where it has few elements and k is long.

    ahead  B may be packed ahead of the run, where that makes it faster
    """
    count = _chunks(e)
    if count > 1:
        assert e.m is not None and e.n is not None and e.k is not None
        each = _whole(replace(e, k=-(-e.k // count)), replace(target, threads=1))
        return Chunks(each, count, costs.LEAST_CHUNK, e.m * e.n)
    if ahead and _gains_by_panels(e, target):
        return _in_tiles(e, target, True)
    many = _whole(e, target)
    if e.m is None and e.is_plain and isinstance(many, Blocking) and many.pack_b:
        return _by_rows(e, many, target)
    return many


def in_tiles(e: Extents, target: Target) -> Blocking:
    """Register tiles whatever the sizes: the only form that adds to what is there."""
    return _in_tiles(e, target, False)


def _gains_by_panels(e: Extents, target: Target) -> bool:
    """Whether B is read faster from panels of sums: not if its rows lie close together in the cache."""
    if e.m == 1 or not e.n or not e.k:
        return False
    if e.terms.grouped(target).group > 1:
        return _groups_lie_in_panels(e, target)
    if e.terms.b is not e.terms.sum:
        return e.terms.a is e.terms.sum and costs.packing_pays(e.m, costs.NARROW)
    packed_in_each_run = e.transpose_b and costs.packing_pays(e.m, costs.DOTS)
    return packed_in_each_run or e.n * e.terms.b.size > costs.CLOSE or not _at_most(e.bytes_of_b, target.l2)


def _groups_lie_in_panels(e: Extents, target: Target) -> bool:
    """Whether panels made ahead hold whole groups of k, and nothing that depends on moving A."""
    terms, run = e.terms.grouped(target), e.view.along.length if e.view else e.k or 0
    return (not terms.is_moved and run % terms.group == 0 and (e.n or 0) > costs.DOT_COLUMNS
            and (e.view is None or _group_of(e, e.view, target) == terms.group))


def _by_rows(e: Extents, packed: Blocking, target: Target) -> Blocking | ByRows:
    """As many rows as it does not pay for leave B where it is; only the run tells how many there are."""
    form: Blocking | ByRows = packed
    if not e.transpose_b and not _walks(e, packed.depth, target):
        form = ByRows(replace(packed, pack_b=False), form, costs.rows_unpacked(costs.FETCHED))
    few = _for_few_rows(e, target)
    long = e.k is not None and e.k >= costs.LEAST_LONG_DOT
    loss = costs.IN_PLACE[1] if not e.transpose_b else costs.LONG_DOTS if long else costs.DOTS
    return form if few is None else ByRows(few, form, costs.rows_unpacked(loss))


def _for_few_rows(e: Extents, target: Target) -> FewRows | Dots | None:
    """Without packing B, which takes the time of several rows; nothing where that is a moment."""
    width = _lanes(e, target)
    if e.transpose_b:
        if e.transpose_a or _at_most(e.bytes_of_b, target.l1) or _at_most(e.k, 4 * width - 1):
            return None
        return _in_parts(replace(e, m=4), target, Dots(width, SEVERAL, min(4, width), costs.DOT_DEPTH))
    streaming = _is_streamed(e, target)
    most = costs.STREAMED_VECTORS if streaming else costs.WIDEST
    several, alone = (_vectors(e, width, min(most, _accumulators(target) // r)) for r in (SEVERAL, 1))
    depth = costs.STREAMED_DEPTH if streaming else _block(e.k, costs.DEPTH[e.size], 8)
    form = FewRows(width, several, alone, depth, 2 * costs.WIDEST * width << 12 * streaming)
    cut = target.threads * form.unit <= (e.n or costs.UNKNOWN)
    return replace(form, count=target.threads) if cut else form


def _vectors(e: Extents, width: int, most: int) -> int:
    """So many that the columns are a multiple of them, if those are half of the most at least."""
    vectors = -(-e.n // width) if e.n else most
    even = [v for v in range(-(-most // 2), most + 1) if e.n is not None and e.n % (v * width) == 0]
    return max(1, min(max(even, default=most), vectors))


def _chunks(e: Extents) -> int:
    """A function of the shape alone: results are the same for any number of threads.

    An unknown k is taken for a short one: memory for many chunks would be many times that of the operands.
    """
    if not e.is_plain or e.m is None or e.n is None or e.k is None or not 0 < e.m * e.n <= costs.FEW_SUMS:
        return 1
    long = e.k >= costs.LONG * max(costs.LEAST_CHUNK, e.m, e.n)
    return min(e.k // costs.LEAST_CHUNK, costs.MOST_CHUNKS) if long else 1


def _whole(e: Extents, target: Target) -> Blocking | Dots:
    """Dot products for few rows of A and a transposed B; else register tiles."""
    width = _lanes(e, target)
    measured = dict(target.tuned).get(e) if target.tuned else None
    if isinstance(measured, Blocking):
        return _in_parts(e, target, measured)
    if e.view is not None:
        return _dots_of_windows(e, e.view, target) or _in_tiles(e, target, False)
    group = e.terms.grouped(target).group
    dots = _dot_tile(e, width, target)
    if dots is not None:
        return _in_parts(e, target, Dots(width, *dots, costs.DOT_DEPTH, group=group))
    if _has_few_columns(e, width, target):
        assert e.n is not None and e.k is not None
        rows, room = min(4, e.m or 4), e.n * e.k
        few_columns = Dots(width, rows, e.n, costs.DOT_DEPTH, pack_b=True, room=room, group=group)
        return _in_parts(e, target, few_columns)
    if not e.transpose_b and not costs.packing_pays(e.m, costs.IN_PLACE[group]):
        return _in_parts(e, target, _few_rows(e, target))
    return _in_tiles(e, target, False)


def _in_tiles(e: Extents, target: Target, ahead: bool) -> Blocking:
    """Register tiles; B in panels made ahead, packed in each run, or read where it lies."""
    width = _width(e, target)
    if e.view is not None:
        return _for_view(e, e.view, ahead, target)
    group = e.terms.grouped(target).group
    narrow_b = e.terms.b is not e.terms.sum
    rows, vecs = _tile(e, target)
    most = (costs.DEEP if ahead else costs.DEPTH)[e.size] if group == 1 else costs.GROUPED_DEPTH * group
    depth = _block(e.k, most, 8)
    walks = _walks(e, depth, target)
    pack_b = not ahead and (e.transpose_b or narrow_b or walks or (
        costs.packing_pays(e.m, costs.FETCHED) and not _at_most(e.bytes_of_b, target.l2)))
    pack_a = e.terms.a is not e.terms.sum or not (
        ((walks or ahead) and not e.transpose_a)
        or _at_most(e.bytes_of_a, target.l2) or _at_most(e.n, 2 * vecs * width)
        or (e.m is None and (_at_most(e.n, costs.SHORT) or _at_most(e.k, costs.SHORT))))
    unit = depth // group * e.size  # bytes of a line of a block
    tiles = 1 if walks else max(1, target.l2 // costs.A_SHARE // (unit * rows))
    columns = _block(e.n, target.l2 // costs.B_SHARE // unit if walks else costs.BLOCK_COLUMNS, 1)
    panels = -(-columns // (vecs * width))
    form = Blocking(width, rows, vecs, depth, tiles, panels, pack_a, pack_b, group=group, ahead=ahead)
    return _in_parts(e, target, form)


def _walks(e: Extents, depth: int, target: Target) -> bool:
    """Whether to compute the result row after row, as memory has it: it leaves the cache, where B stays."""
    if e.n is None or e.k is None or e.k > depth or e.n * e.size < costs.LONG_ROW:
        return False
    rows = costs.UNKNOWN if e.m is None else e.m
    return rows * e.n * e.size >= target.l2 >= e.k * min(e.n, costs.BLOCK_COLUMNS) * e.size


def _for_view(e: Extents, view: View, ahead: bool, target: Target) -> Blocking:
    """Register tiles within the runs of rows, read where they lie, and blocks of whole runs along k."""
    unit, width, group = view.along.length, _width(e, target), _group_of(e, view, target)
    rows, vecs = _tile(replace(e, m=view.rows.length), target)
    most = _view_depth(e, view, group)
    depth = unit if unit >= most else _block(e.k, most // unit * unit, unit)
    narrow = e.terms.a is not e.terms.sum
    pack_a = narrow and not (group > 1 and view.along.step == 1 and unit % group == 0)
    in_place = _at_most(e.n, 2 * costs.CLOSE // e.size) or not costs.packing_pays(e.m, costs.WINDOWS)
    pack_b = not ahead and (narrow or not (in_place or _at_most(e.bytes_of_b, target.l2)))
    panels = -(-_block(e.n, costs.BLOCK_COLUMNS, 1) // (vecs * width))
    form = Blocking(width, rows, vecs, depth, 1, panels, pack_a and 1 in _steps(view), pack_b, group=group,
                    ahead=ahead, run=unit)
    tiles = max(1, target.l2 // costs.A_SHARE // (form.units * rows * e.size))
    return _in_parts(e, target, replace(form, tiles=tiles))


def _view_depth(e: Extents, view: View, group: int) -> int:
    """Elements of k in a block, at most."""
    if view.along.step == 1:
        return costs.VIEW_DEPTH // e.size * group
    return costs.DEPTH[e.size] if group == 1 else costs.GROUPED_DEPTH * group


def _steps(view: View) -> tuple[int, int]:
    return view.rows.step, view.along.step


def _group_of(e: Extents, view: View, target: Target) -> int:
    """Elements of k in a unit: one where A's cannot be read or packed in groups."""
    return e.terms.grouped(target).group if 1 in _steps(view) else 1


def _dot_tile(e: Extents, width: int, target: Target) -> tuple[int, int] | None:
    """Rows and columns of dot products at once, where these take less time than packing a transposed B."""
    m = e.m
    if m is None:
        return None
    along_k, least = e.transpose_b and not e.transpose_a, costs.LEAST_DOT if m == 1 else 4 * width
    few = along_k and not costs.packing_pays(m, costs.DOTS) and (e.k is None or e.k >= least)
    if few or m == e.n == 1:
        return -(-m // -(-m // 4)) if m else 1, min(8 if m == 1 else 4, width)
    long = e.k is not None and e.k >= costs.LEAST_LONG_DOT
    many = along_k and e.is_plain and not costs.packing_pays(m, costs.LONG_DOTS)
    if many and long and _at_most(e.bytes_of_a, target.l2 // costs.A_SHARE):
        rows = min((5, 6, 4), key=lambda r: m % r)
        return rows, (_accumulators(target) + 1) // rows
    return None


def _has_few_columns(e: Extents, width: int, target: Target) -> bool:
    """Whether vectors of columns would be mostly empty, and those along k are not."""
    return (e.n is not None and e.n <= min(4, width) and e.k is not None and 4 * width <= e.k
            and _at_most(e.bytes_of_b, target.l2 // costs.B_SHARE) and not (e.transpose_a or e.transpose_b))


def _dots_of_windows(e: Extents, view: View, target: Target) -> Dots | None:
    """The same for windows that lie in long runs; all of k at once, and as many rows as registers hold."""
    width, group = _lanes(e, target), e.terms.grouped(target).group
    if e.n is None or e.k is None or e.n > costs.DOT_COLUMNS or view.along.step != 1:
        return None
    if view.along.length < 2 * width * group or not _at_most(e.bytes_of_b, target.l2 // costs.B_SHARE):
        return None
    rows = max(1, min(8, _accumulators(target) // e.n))
    return _in_parts(e, target, Dots(width, rows, e.n, e.k, pack_b=True, room=e.n * e.k, group=group))


def _lanes(e: Extents, target: Target) -> int:
    """Sums that a register holds."""
    return max(1, target.vector_bits // (8 * e.size))


def _width(e: Extents, target: Target) -> int:
    """Lanes of a tile's vectors: half of them where these hold a row, as more of such may run at once."""
    width = _lanes(e, target)
    while e.n and e.n <= width // 2 and width > costs.LEAST_BYTES // e.size:
        width //= 2
    return width


def _is_streamed(e: Extents, target: Target) -> bool:
    """Whether B comes from memory: the last cache has no room for it beside the rest."""
    return not _at_most(e.bytes_of_b, target.l3 // 4)


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


def _few_rows(e: Extents, target: Target) -> Blocking:
    """B is read where it lies, once: by wide tiles, or where it comes from memory, in long runs."""
    assert e.m is not None
    width = _width(e, target)
    streaming = _is_streamed(e, target)
    room = _accumulators(target)
    rows = -(-e.m // -(-e.m // min(8, room))) if e.m else 1
    vecs = _vectors(e, width, min(costs.STREAMED_VECTORS if streaming else costs.WIDEST, room // rows))
    depth = costs.STREAMED_DEPTH if streaming else _block(e.k, costs.DEPTH[e.size], 8)
    panels = 1 << 20 if streaming else -(-costs.BLOCK_COLUMNS // (vecs * width))
    return Blocking(width, rows, vecs, depth, max(1, -(-e.m // rows)), panels, e.terms.a is not e.terms.sum,
                    False)


def _in_parts(e: Extents, target: Target, form: F) -> F:
    """With a part for each thread, cut so that the largest is small and little is packed more than once."""
    m, n, k = (costs.UNKNOWN if d is None else d for d in (e.m, e.n, e.k))
    if m * n * k < costs.LEAST_SHARED:
        return form
    rows, columns = (form.rows, form.columns) if isinstance(form, Blocking) else (1, 1)
    pack_a, pack_b = isinstance(form, Blocking) and form.pack_a, form.pack_b
    tiles, panels = -(-m // rows), -(-n // columns)

    def time(cut: tuple[int, int]) -> int:
        """Of the largest part, in multiply-adds per element of k."""
        high, wide = min(-(-tiles // cut[0]) * rows, m), min(-(-panels // cut[1]) * columns, n)
        return high * wide + costs.PACK * (high * pack_a + wide * pack_b) + costs.READ * (high + wide)

    cuts = [(d, target.threads // d) for d in range(1, target.threads + 1) if target.threads % d == 0]
    fitting = [c for c in cuts if c[0] <= tiles and c[1] <= panels] or [(1, 1)]
    least = min(map(time, fitting))
    return replace(form, parts=max(c for c in fitting if time(c) <= costs.NEAR * least))  # long rows of C


def _tile(e: Extents, target: Target) -> tuple[int, int]:
    """The register tile with the least estimated time for all tiles of the product."""
    if e.m == 0 or e.n == 0:
        return 1, 1
    return likely_tiles(e, target)[0]


def likely_tiles(e: Extents, target: Target) -> list[tuple[int, int]]:
    """Rows and vectors of register tiles, those with the least estimated time first."""
    width = _width(e, target)
    return sorted(_candidates(e, width, target), key=lambda t: _time(e, width, *t))


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
    each = costs.tile_time(-(-m // tiles), vecs), costs.tile_time(-(-m // tiles), rest) if rest else 0
    kinds = (1 + (m % tiles != 0)) * ((panels > 0) + (rest > 0))
    return tiles * (panels * each[0] + each[1]) * (1 + costs.KIND * (kinds - 1))
