"""Patches of inputs at the points of Winograd's way, band by band: each is used while it is in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow.compiler.ir.dims import Dim, axis, minimum, product
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.loops.expr import Expr, temp
from graphflow.compiler.loops.forms import Piece, Workspace
from graphflow.compiler.loops.nest import Let, Stmt, Store, nested
from graphflow.compiler.ops.winograd_points import Key, Points, apply, keys_of, points_of
from graphflow.compiler.records import record

_SOME = 48    # patches of a band, where channels are not known
_FEWEST = 24  # patches of a band that is there only for threads to have one each
_SHARES = 4   # so many threads at least find a band, if there are patches enough
_PANEL = 64   # channels: rows of so many lie close together, and make whole register tiles


def panel_of(channels: Any) -> int:
    """So many channels that a product has at a time: the most whole vectors that divide them, or all."""
    return next((d for d in range(_PANEL, 16, -16) if channels % d == 0), channels)


def halved(count: Any) -> Any:
    """Patches for so many outputs: two of each."""
    return (count + 1) // 2


@record
class Bands:
    """Patches cut into bands of rows of them.

    halves  patches along each axis of an image
    rows    of patches in a band
    total   rows of patches in all images
    """

    points: Points
    halves: tuple[int, ...]
    rows: int
    total: Dim

    @property
    def wide(self) -> int:
        """Patches in a row."""
        return self.halves[-1]

    @property
    def patches(self) -> int:
        """Of a band."""
        return self.rows * self.wide

    @property
    def count(self) -> Dim:
        return (self.total + self.rows - 1) // self.rows

    @property
    def even(self) -> bool:
        """Whether the last band has as many rows as any."""
        return bool(self.total % self.rows == 0)

    def rows_of(self, band: Dim) -> Dim:
        """All, or in the last band what is left."""
        return self.rows if self.even else minimum(self.rows, self.total - band * self.rows)

    def place(self, band: Dim, row: Dim) -> tuple[Dim, ...]:
        """The image and the indices within it of a row of a band."""
        row = band * self.rows + row
        digits: list[Dim] = []
        for extent in reversed(self.halves[:-1]):
            digits.insert(0, row % extent)
            row = row // extent
        return (row, *digits)


def bands_of(op: Operation, memory: Workspace, each: Dim, others: Dim) -> Bands:
    """Bands of patches of op.x that fill half a cache; larger ones where each goes through much other memory.

    each    numbers for a patch
    others  that a band goes through whatever its size
    """
    halves = tuple(halved(c) for c in op.counts)
    per_image, n = product(halves[:-1]), op.x.type.known_dims[0]
    known = [d for d in (each, others) if isinstance(d, int)]
    most = max(memory.cache // 4, known[1]) // (2 * known[0]) if len(known) == 2 else _SOME
    total = n * per_image if isinstance(n, int) else per_image
    assert isinstance(total, int)
    shared = max(-(-_FEWEST // halves[-1]), -(-total // _SHARES))
    return Bands(points_of(op.size), halves, _cut(total, min(most // halves[-1], shared)), n * per_image)


def _cut(total: int, most: int) -> int:
    """The length of parts of so many rows: a divisor, or such that the last part is little shorter."""
    most = max(1, min(most, total))
    even = next(d for d in range(most, 0, -1) if total % d == 0)
    return even if 2 * even > most else -(-total // -(-total // most))


def transformed(memory: Workspace, bands: Bands, band: Dim, to: Piece,
                channels: tuple[Dim, Dim]) -> list[Stmt]:
    """The values of a band's patches of operand 0 at all points: of each point [patch, value, channel].

    channels  the first, and how many
    """
    first, count = channels
    j, c = axis("j", bands.wide), axis("c", count)
    r = axis("r", bands.rows_of(band))
    image, *rows = bands.place(band, r)
    corner = [2 * i for i in (*rows, j)]
    lets, inputs = Lets(), {}
    for key in keys_of(bands.points.sides):
        at = (image, *(i + k for i, k in zip(corner, key, strict=True)), first + c)
        inputs[key] = lets.add(memory.load(0, at))
    found = apply((line.inputs for line in bands.points.lines), inputs, lets.add)
    stores = [Store(to[0], to[1] + start + ((r * bands.wide + j) * values + k) * count + c, found[key])
              for key, start, values, k in value_places(bands, count)]
    return nested([*lets.body, *stores], (r, j, c))


def of_points(points: Points, product: Callable[[Dim, Dim, int], Stmt]) -> list[Stmt]:
    """The products of all points, in one loop for those with as many values.

    product  makes one from a point's number, the number of its first value, and how many values it has
    """
    number, start, body = 0, 0, list[Stmt]()
    for count, values in points.classes:
        p: Dim = 0 if count == 1 else axis("p", count)
        body += nested([product(number + p, start + p * values, values)], (p,))
        number, start = number + count, start + count * values
    return body


def value_places(bands: Bands, channels: Dim) -> list[tuple[Key, Dim, int, int]]:
    """Each value's key, where its point's values start, how many these are, and its number among them."""
    points = bands.points
    return [(tuple(zip(point, run, strict=True)), points.starts[point] * bands.patches * channels,
             len(points.runs[point]), k)
            for point in points.runs for k, run in enumerate(points.runs[point])]


def patches_numpy(x: Any, points: Points, halves: Sequence[int]) -> dict[Any, Any]:
    """The values of all patches: key -> [n, patches.., channels]."""
    inputs = {key: cut_of(x, key, halves) for key in keys_of(points.sides)}
    return apply((line.inputs for line in points.lines), inputs)


def cut_of(x: Any, key: Key, halves: Sequence[int]) -> Any:
    """One element of each patch."""
    cut = (slice(None), *(slice(k, k + 2 * h - 1, 2) for k, h in zip(key, halves, strict=True)))
    return x[cut]


class Lets:
    """Values named in the order in which they are found."""

    def __init__(self) -> None:
        self.body: list[Stmt] = []

    def add(self, value: Expr) -> Expr:
        if value.op == "temp":
            return value
        name = f"t{len(self.body)}"
        self.body.append(Let(name, value))
        return temp(name, value.dtype)
