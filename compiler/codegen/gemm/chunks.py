"""A product in chunks of k: each has sums of its own, and whoever completes the last chunk adds them up.

The chunks are the parts for threads. They follow from the shape alone, and their sums are added in their
order: results do not depend on the number of threads.
"""

from __future__ import annotations

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.finish import Finish, FinishingBuilder, with_finish
from graphflow.compiler.codegen.gemm.parts import PARAMS, Shape
from graphflow.compiler.loops.blocking import Chunks

DONE = "ptr %done"  # where the parts count those that are done; 0 before the first and after the last


def chunks_function(module: Module, shape: Shape, chunks: Chunks, finish: Finish | None, each: str) -> str:
    """The name of the function for parts of a product, see parts.PARAMS, after these DONE.

    each  the function that computes one chunk
    """
    sizes = "x".join(str(d or "") for d in (shape.m, shape.n, shape.k))
    name = (f"gf.chunks.{sizes}.{chunks.count}.{chunks.least}{f'.{finish.key}' if finish else ''}.of.{each}")
    if name not in module.functions:
        module.functions[name] = ""
        module.functions[name] = _ChunksBuilder(module, shape, chunks, finish, each).text(name)
    return name


class _ChunksBuilder(FinishingBuilder):
    def __init__(self, module: Module, shape: Shape, chunks: Chunks, finish: Finish | None,
                 each: str) -> None:
        super().__init__(module, shape.terms.sum, chunks.each.width, finish)
        self.shape = shape
        self.chunks = chunks
        self.each = each

    def text(self, name: str) -> str:
        k = str(self.shape.k)
        length = self.most(self.ceil_div(k, self.chunks.count), self.chunks.least)
        with self.loop("%begin", "%end") as chunk:
            first = self.mul(chunk.index, length)
            there = self.compare("slt", first, k), self.compare("eq", chunk.index, 0)
            with self.when(self.em.raw(f"or i1 {', '.join(there)}")):
                self.chunk(chunk.index, first, self.least(self.sub(k, first), length))
        with self.when(self.completes()):
            self.add_up(self.most(self.quotient(self.add(k, self.sub(length, 1)), length), 1))
        return self.function(name, with_finish((*PARAMS, DONE), self.finish))

    def chunk(self, number: str, first: str, length: str) -> None:
        a = self.at("%a", self.mul(first, "%lda") if self.shape.transpose_a else first)
        b = self.at("%b", first if self.shape.transpose_b else self.mul(first, "%ldb"))
        room = self.chunks.each.scratch
        scratch = self.at("%scratch", self.add(self.mul(number, room), self.chunks.count * self.chunks.room))
        self.call(self.each, [f"ptr {a}", "i64 %lda", f"ptr {b}", "i64 %ldb", f"ptr {self.sums(number)}",
                              "i64 %n", "i64 %m", "i64 %n", f"i64 {length}", "i64 0",
                              f"i64 {self.chunks.each.count}", f"ptr {scratch}"])

    def sums(self, number: str) -> str:
        return self.at("%scratch", self.mul(number, self.chunks.room))

    def completes(self) -> str:
        """Whether no chunk is left; the sums of the others can then be seen."""
        here = self.sub("%end", "%begin")
        alone = self.compare("eq", here, self.chunks.count)
        before = self.block
        with self.when(self.em.raw(f"xor i1 {alone}, true")):
            done = self.em.raw(f"atomicrmw add ptr %done, i64 {here} acq_rel")
            last = self.compare("eq", self.add(done, here), self.chunks.count)
            with self.when(last):
                self.emit("store i64 0, ptr %done, align 8")
            inside = self.block
        return self.em.raw(f"phi i1 [true, %{before}], [{last}, %{inside}]")

    def add_up(self, count: str) -> None:
        with self.loop("0", "%m") as row:
            first = self.at("%scratch", self.mul(row.index, "%n"))
            out = self.at("%c", self.mul(row.index, "%ldc")) if self.finish is None else first
            with self.loop("0", "%n", self.width) as column:
                mask = self.first_lanes(self.sub("%n", column.index))
                here = self.at(first, column.index)
                with self.loop("1", count, starts=[self.fetch(here, self.width, mask)]) as chunk:
                    there = self.at(here, self.mul(chunk.index, self.chunks.room))
                    more = self.fetch(there, self.width, mask)
                    chunk.next = [self.em.call("add", [chunk.now[0], more], self.dtype)]
                self.put(chunk.after[0], self.at(out, column.index), mask)
            if self.finish is not None:
                self.finish_rows(first, 0, row.index, "1", "0", "%n")
