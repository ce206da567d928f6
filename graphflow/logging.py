"""tf.logging: Python's logging under TF1's names; the logger is called "graphflow"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logging import Logger

DEBUG, INFO, WARN, ERROR, FATAL = 10, 20, 30, 40, 50
WARNING = WARN
_METHODS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "error": "error",
            "fatal": "critical"}


def __getattr__(name: str) -> Any:
    """`debug(msg, *args)` and its kin: the logger's own methods, so that records name the caller's line."""
    if name not in _METHODS:
        raise AttributeError(f"tf.logging has no {name!r}")
    return getattr(_logger(), _METHODS[name])


def log(level: int, msg: str, *args: Any, **kwargs: Any) -> None:
    """Log `msg % args` at a level."""
    _logger().log(level, msg, *args, **kwargs)


def log_if(level: int, msg: str, condition: Any, *args: Any) -> None:
    """Log when the condition holds."""
    if condition:
        log(level, msg, *args)


def set_verbosity(v: int) -> None:
    """Show messages of this level and above, on stderr."""
    import logging

    logger = _logger()
    if not logger.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s:graphflow:%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(v)


def get_verbosity() -> int:
    """The level from which on messages are shown."""
    return _logger().getEffectiveLevel()


def _logger() -> Logger:
    """Python's logging is imported when something is logged: with it `import graphflow` takes 3 ms more."""
    import logging

    return logging.getLogger("graphflow")
