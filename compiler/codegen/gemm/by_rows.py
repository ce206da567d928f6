"""A product whose rows only the run counts: one form for few of them, another for more."""

from __future__ import annotations

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.finish import Finish, FinishingBuilder, with_finish
from graphflow.compiler.codegen.gemm.parts import PARAMS, Shape
from graphflow.compiler.loops.blocking import ByRows


def by_rows_function(module: Module, shape: Shape, form: ByRows, finish: Finish | None, few: str,
                     many: str) -> str:
    """The name of the function for parts of a product, see parts.PARAMS.

    few, many  the functions of the two forms
    """
    name = f"gf.rows.{form.most}.{few}.{many}"
    if name not in module.functions:
        module.functions[name] = ""
        builder = _ByRowsBuilder(module, shape.terms.sum, form.few.width, finish)
        module.functions[name] = builder.text(name, form, few, many)
    return name


class _ByRowsBuilder(FinishingBuilder):
    def text(self, name: str, form: ByRows, few: str, many: str) -> str:
        for test, each, function in (("sle", form.few, few), ("sgt", form.many, many)):
            with self.when(self.compare(test, "%m", form.most)):
                self.parts(form.count, each.count, function)
        return self.function(name, with_finish(PARAMS, self.finish))

    def parts(self, count: int, own: int, function: str) -> None:
        """Parts %begin to %end of `count`; a form that has but one part does it with the first."""
        params = with_finish(PARAMS, self.finish)
        if own == count:
            self.call(function, [p.replace("noalias ", "") for p in params])
            return
        assert own == 1, "a form that is cut is cut for every thread"
        whole = {"i64 %begin": "i64 0", "i64 %end": "i64 1"}
        with self.when(self.compare("eq", "%begin", 0)):
            self.call(function, [whole.get(p, p.replace("noalias ", "")) for p in params])
