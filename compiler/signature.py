"""What a program is compiled for, and what compiling it may ask for."""

from __future__ import annotations

from graphflow.compiler.ir.dims import Atom
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.program import Symbol
from graphflow.compiler.records import record


@record
class Signature:
    """What a program is compiled for.

    fetches, targets, feeds  of the user's graph
    feed_types               per feed, with an int or a sym for each dim
    pins                     run-time integers taken as constants, by symbol name
    kept                     what stages hold row by row, as no array: the histories of loops that they ran
    asks                     the name of an integer that the run computes: the program gives this alone, and
                             changes nothing
    """

    fetches: tuple[Tensor, ...]
    targets: tuple[Operation, ...]
    feeds: tuple[Tensor, ...]
    feed_types: tuple[TensorType, ...]
    pins: tuple[tuple[str, int], ...] = ()
    asks: str = ""
    kept: tuple[Tensor, ...] = ()

    @property
    def given(self) -> tuple[Tensor, ...]:
        """What the run has from the start."""
        return self.feeds + self.kept


class Undecided(Exception):
    """The symbols that must become constants: two dims must be equal, but neither is a plain symbol; or the
    run takes one branch of a conditional whose branches differ in shape.
    """

    def __init__(self, atoms: set[Atom], symbols: dict[Atom, Symbol]) -> None:
        super().__init__(", ".join(sorted(a.name for a in atoms)))
        self.atoms = atoms
        self.symbols = symbols


class Growing(Exception):
    """A loop of the user's graph whose variables change their shape: the run is to be made in stages.

    What comes before the loop, one iteration, and what comes after it are then programs of their own: see
    `leaving.may_leave`.
    """

    def __init__(self, signature: Signature, loop: Operation) -> None:
        super().__init__(loop.location)
        self.signature = signature
        self.loop = loop
