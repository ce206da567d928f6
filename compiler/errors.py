"""Every error graphflow raises: faults of graph building, and TF1's run-time errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def close_to(name: str, names: Iterable[str]) -> str:
    """The end of an error about a name that is not there: those that look like it."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"; close to it: {', '.join(close)}" if close else ""


class GraphflowError(Exception):
    """The root of all errors that graphflow raises on purpose."""


class ShapeError(GraphflowError, ValueError):
    """Shapes that do not fit; raised when the graph is built. `op` is the operation whose rule says so."""

    op: Any = None


class DTypeError(GraphflowError, TypeError):
    """Dtypes that do not fit, or a value that is no tensor; raised when the graph is built."""


class GraphError(GraphflowError, ValueError):
    """A name, tensor or operation that this graph does not have."""


class UnsupportedError(GraphflowError, NotImplementedError):
    """A legal graph that this version cannot compile; the text says which part and what to do instead."""


class OpError(GraphflowError):
    """A run-time fault, as in `tf.errors`: `message`, `op` (or None) and `error_code`."""

    error_code = 2

    def __init__(self, node_def: Any, op: Any, message: str, error_code: int | None = None) -> None:
        super().__init__(message)
        self.node_def = node_def
        self.op = op
        self.message = message
        if error_code is not None:
            self.error_code = error_code


class CancelledError(OpError):
    error_code = 1


class UnknownError(OpError):
    error_code = 2


class InvalidArgumentError(OpError):
    error_code = 3


class DeadlineExceededError(OpError):
    error_code = 4


class NotFoundError(OpError):
    error_code = 5


class AlreadyExistsError(OpError):
    error_code = 6


class PermissionDeniedError(OpError):
    error_code = 7


class ResourceExhaustedError(OpError):
    error_code = 8


class FailedPreconditionError(OpError):
    error_code = 9


class AbortedError(OpError):
    error_code = 10


class OutOfRangeError(OpError):
    error_code = 11


class UnimplementedError(OpError):
    error_code = 12


class InternalError(OpError):
    error_code = 13


class UnavailableError(OpError):
    error_code = 14


class DataLossError(OpError):
    error_code = 15


class UnauthenticatedError(OpError):
    error_code = 16
