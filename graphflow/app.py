"""tf.app: the main program of a script."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from graphflow import flags

__all__ = ["flags", "run"]


def run(main: Callable[[list[str]], Any] | None = None, argv: Sequence[str] | None = None) -> NoReturn:
    """Parse the flags, call `main(argv)` (default: that of the script) with what is left, and exit."""
    rest = flags.FLAGS(sys.argv if argv is None else argv, known_only=True)
    function = main or sys.modules["__main__"].main
    sys.exit(function(rest))
