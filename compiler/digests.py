"""Hashes that tell contents apart: names of the cache's entries, and what these begin with."""

from __future__ import annotations

from collections.abc import Iterable

try:  # `hashlib` brings OpenSSL along, which takes 2.5 ms to load; this has been in CPython since 3.6
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

SIZE = 32  # bytes of a hash
_LONG = 1 << 22  # bytes that OpenSSL hashes faster, its loading included


def digest(parts: Iterable[bytes | memoryview]) -> bytes:
    """The hash of these bytes, one after another."""
    state = blake2b(digest_size=SIZE)
    for part in parts:
        state.update(part)
    return state.digest()


def digest_of_long(content: memoryview) -> bytes:
    """A hash of bytes that may be many."""
    if content.nbytes < _LONG:
        return digest([content])
    from hashlib import sha256

    return sha256(content).digest()
