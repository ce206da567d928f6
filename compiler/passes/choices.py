"""Which branch a conditional takes, where it must be known when a program is compiled.

Branches whose results differ in shape cannot share a program: the dims of what follows would depend on values
computed in the run. But most predicates are fed (`is_training`), or compare fed numbers and dims. These
become constants of the program, as dims do that cannot stay open, and only the branch that runs is compiled.
A predicate that the run computes is guessed to be what it was before: the program checks that, and when it is
another the run starts again with the program for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphflow.compiler import oracle
from graphflow.compiler.errors import UnsupportedError
from graphflow.compiler.ir.dims import Dim, Poly
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.core import constant
from graphflow.compiler.ops.symbolic import symbolic_value

if TYPE_CHECKING:
    from graphflow.compiler.passes.prune import Pruner

_MOST_ELEMENTS = 8  # of a fed tensor that takes part in a choice


class Choice:
    """A predicate, traced back to fed numbers and dims: `numbers`; where there is anything else, to a guess
    of its own value, or None if it changes from one iteration of a loop to the next.

    Example:  logical_and(training, greater(size(x), 10)) with training: bool[] and x: f32[n0] fed
    -->       numbers {training: [training[0]], size(x): [n0]}
    """

    def __init__(self, pruner: Pruner, op: Operation, pred: Tensor) -> None:
        self.pruner = pruner
        self.op = op
        while pred in pruner.outer:
            pred = pruner.outer[pred]
        self.pred = pred
        self.numbers: dict[Tensor, list[Dim]] | None = self._traced()
        self.may_guess = self.numbers is None and pred.graph is pruner.whole
        if self.may_guess and pruner.is_guessed(pred):
            self.numbers = {pred: [pruner.guess(pred)]}

    def _traced(self) -> dict[Tensor, list[Dim]] | None:
        found: dict[Tensor, list[Dim]] = {}
        seen, stack = {self.pred}, [self.pred]
        while stack:
            t = stack.pop()
            numbers = self._numbers(t)
            if numbers is not None:
                found[t] = numbers
            elif t.op.opdef is not constant:
                if not t.op.operands or t.op.opdef.regions or t.op.opdef.effect:
                    return None
                stack += [x for x in t.op.operands if x not in seen]
                seen.update(t.op.operands)
        return found

    def _numbers(self, t: Tensor) -> list[Dim] | None:
        """The elements of a tensor as dims and fed numbers."""
        if t in self.pruner.feed_of:
            size = t.type.size
            if not isinstance(size, int) or size > _MOST_ELEMENTS or t.dtype.is_floating:
                return None
            return [self.pruner.fed_number(t, k) for k in range(size)]
        found = symbolic_value(t)
        try:
            return None if found is None else [self.pruner.decided(self.op, d) for d in found.ravel()]
        except UnsupportedError:
            return None

    @property
    def is_made(self) -> bool:
        """Whether all that decides it is constant already."""
        return self.numbers is not None and not any(isinstance(d, Poly) for d in self._all())

    def _all(self) -> list[Dim]:
        return [d for numbers in (self.numbers or {}).values() for d in numbers]

    def value(self) -> bool:
        """Of a choice that is made."""
        given = {t: np.array(numbers, t.dtype.numpy).reshape(t.type.known_dims)
                 for t, numbers in (self.numbers or {}).items()}
        return bool(oracle.run([self.pred], given)[0])

    def make(self, guess: bool = False) -> None:
        """Have what decides it made constant, where that is possible: then this raises prune.Undecided.

        guess  also where that is a guess
        """
        if guess and self.may_guess:
            self.numbers = {self.pred: [self.pruner.guess(self.pred)]}
        if self.numbers is not None:
            self.pruner.make_constant(self._all())
