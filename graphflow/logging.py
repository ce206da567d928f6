"""tf.logging: Python's logging under TF1's names; the logger is called "graphflow"."""

from __future__ import annotations

import logging as _logging
from typing import Any

DEBUG = _logging.DEBUG
INFO = _logging.INFO
WARN = WARNING = _logging.WARNING
ERROR = _logging.ERROR
FATAL = _logging.FATAL

_LOGGER = _logging.getLogger("graphflow")
debug = _LOGGER.debug
info = _LOGGER.info
warn = warning = _LOGGER.warning
error = _LOGGER.error
fatal = _LOGGER.critical


def log(level: int, msg: str, *args: Any, **kwargs: Any) -> None:
    """Log `msg % args` at a level."""
    _LOGGER.log(level, msg, *args, **kwargs)


def log_if(level: int, msg: str, condition: Any, *args: Any) -> None:
    """Log when the condition holds."""
    if condition:
        log(level, msg, *args)


def set_verbosity(v: int) -> None:
    """Show messages of this level and above, on stderr."""
    if not _LOGGER.handlers and not _logging.getLogger().handlers:
        handler = _logging.StreamHandler()
        handler.setFormatter(_logging.Formatter("%(levelname)s:graphflow:%(message)s"))
        _LOGGER.addHandler(handler)
    _LOGGER.setLevel(v)


def get_verbosity() -> int:
    """The level from which on messages are shown."""
    return _LOGGER.getEffectiveLevel()
