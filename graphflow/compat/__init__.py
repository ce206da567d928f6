"""tf.compat: strings of Python 2 and 3, and `tf.compat.v1`, which is this package itself."""

from __future__ import annotations

import numbers
from types import ModuleType
from typing import Any

import numpy as np

v1: ModuleType  # this package itself, set when it is imported
bytes_or_text_types = (bytes, str)
integral_types = (numbers.Integral, np.integer)
real_types = (numbers.Real, np.integer, np.floating)
complex_types = (numbers.Complex, np.number)


def as_text(bytes_or_text: Any, encoding: str = "utf-8") -> str:
    """A str; bytes are decoded."""
    if isinstance(bytes_or_text, str):
        return bytes_or_text
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text.decode(encoding)
    raise TypeError(f"bytes or str are needed, not {bytes_or_text!r}")


def as_bytes(bytes_or_text: Any, encoding: str = "utf-8") -> bytes:
    """Bytes; a str is encoded."""
    return bytes_or_text if isinstance(bytes_or_text, bytes) else as_text(bytes_or_text).encode(encoding)


as_str = as_text


def as_str_any(value: Any) -> str:
    """A str of anything."""
    return as_text(value) if isinstance(value, bytes) else str(value)
