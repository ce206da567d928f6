"""The version of the compiler: a hash of its own sources, so that an edited one compiles anew."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator

import numpy as np

from graphflow.compiler.digests import digest
from graphflow.compiler.fingerprint import UnsuitedError
from graphflow.runtime import cache, objects

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_SETTLED = 2.0  # seconds after which a file that changes again has another time stamp, on any file system


@functools.lru_cache(maxsize=8)
def compiler_version(known: cache.Cache) -> bytes:
    """The hash of this package's own sources, and the versions of what computes constants.

    The cache keeps it for files of these sizes and times: reading all of them takes 5 ms.
    Raises:  UnsuitedError where there are no sources to read
    """
    paths = sorted(_paths())
    if not paths:
        raise UnsuitedError("the package's sources cannot be read")
    stats = [os.stat(path) for path in paths]
    others = f"numpy {np.__version__}".encode(), objects.package_file("ml_dtypes", "__init__.py")
    stamps = [f"{path} {s.st_dev} {s.st_ino} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}"
              for path, s in zip(paths, stats, strict=True)]
    key = cache.key_of("sources", *others, *stamps)
    version = known.read(key)
    if version is None:
        version = _hash(paths, *others)
        if time.time() - max(max(s.st_ctime, s.st_mtime) for s in stats) > _SETTLED:
            known.write(key, version)
    return version


def _paths() -> Iterator[str]:
    for part in ("compiler", "runtime"):
        for folder, folders, names in os.walk(os.path.join(_HOME, part)):
            folders[:] = [name for name in folders if name != "__pycache__"]
            yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))


def _hash(paths: list[str], *others: bytes) -> bytes:
    return digest([b"\0".join(others), *map(_named, paths)])


def _named(path: str) -> bytes:
    with open(path, "rb") as f:
        return f"{path[len(_HOME):]}\0".encode() + f.read()
