"""Parts: the cut of a product for threads. The order of every sum is the same however the cut is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from graphflow.compiler.codegen.gemm.finish import Finish, FinishingBuilder
from graphflow.compiler.codegen.gemm.terms import Terms
from graphflow.compiler.loops.blocking import Blocking, Dots, FewRows
from graphflow.compiler.loops.view import View
from graphflow.compiler.records import record

PARAMS = ("ptr noalias %a", "i64 %lda", "ptr noalias %b", "i64 %ldb", "ptr noalias %c", "i64 %ldc",
          "i64 %m", "i64 %n", "i64 %k", "i64 %begin", "i64 %end", "ptr %scratch")  # then the finish's


@record
class Shape:
    """What is known of a product when it is compiled; sizes are None where they are run-time integers.

    view  how A lies in memory, if not as a matrix
    add   whether the sums are added to what C holds
    """

    terms: Terms
    m: int | None
    n: int | None
    k: int | None
    transpose_a: bool
    transpose_b: bool
    view: View | None = None
    add: bool = False


@record
class Part:
    """Units of rows and columns, from the first to the one past the last; the number of its scratch."""

    row: str
    rows: str
    column: str
    columns: str
    number: str


def product_name(kind: str, shape: Shape, form: Blocking | Dots | FewRows, finish: Finish | None) -> str:
    """The name of a product's function: all that its text may depend on, as one is made for each name."""
    sizes = "x".join("n" if d is None else str(d) for d in (shape.m, shape.n, shape.k))
    order = f"{'nt'[shape.transpose_a]}{'nt'[shape.transpose_b]}"
    values = "_".join(_plain(getattr(form, f.name)) for f in fields(form))
    more = [f"v{shape.view.code}"] if shape.view else []
    more += ["add"] * shape.add + ([finish.key] if finish else [])
    return ".".join([f"gf.{kind}", shape.terms.code, order, sizes, values, *more])


def _plain(value: int | tuple[int, int]) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(int(value))


class PartsBuilder(FinishingBuilder):
    """Builds a function for parts %begin to %end of a product."""

    def sizes(self, shape: Shape) -> tuple[str, str, str]:
        """m, n and k: numbers where they are known."""
        m, n, k = (f"%{name}" if d is None else str(d)
                   for name, d in (("m", shape.m), ("n", shape.n), ("k", shape.k)))
        return m, n, k

    @contextmanager
    def each_part(self, parts: tuple[int, int], rows: str, columns: str) -> Iterator[Part]:
        """A loop over the parts, of so many units each way; all parts at once are one."""
        down, across = parts
        if down * across == 1:
            yield Part("0", rows, "0", columns, "0")
            return
        all_at_once = self.compare("eq", self.sub("%end", "%begin"), down * across)
        end = self.pick(all_at_once, self.add("%begin", 1), "%end")
        with self.loop("%begin", end) as part:
            i, j = self.quotient(part.index, across), self.remainder(part.index, across)
            yield Part(self.pick(all_at_once, "0", self.share(i, rows, down)),
                       self.pick(all_at_once, rows, self.share(self.add(i, 1), rows, down)),
                       self.pick(all_at_once, "0", self.share(j, columns, across)),
                       self.pick(all_at_once, columns, self.share(self.add(j, 1), columns, across)),
                       part.index)

    @contextmanager
    def blocks(self, begin: str, end: str, step: int, most: str) -> Iterator[tuple[str, str]]:
        """Where each block of `step` units begins and ends; there are `most` units, which one may hold."""
        if most.isdigit() and int(most) <= step:
            yield begin, end
            return
        with self.loop(begin, end, step) as outer:
            yield outer.index, self.least(self.add(outer.index, step), end)

    def share(self, number: str, units: str, of: int) -> str:
        """Where part `number` of so many begins."""
        return self.quotient(self.mul(number, units), of)
