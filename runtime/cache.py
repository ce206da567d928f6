"""Cache: a private folder of checksummed files, for what is slow to make again.

An entry that is damaged or cut off is as good as none. Writers make a file apart and rename it, so that
readers in other processes see a whole one. The least recently used entries go when there are too many bytes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
import time
from collections.abc import Iterator

from graphflow.compiler import flags
from graphflow.compiler.digests import SIZE, digest

_MAGIC = b"graphflow cache 1\n"
_HEAD = len(_MAGIC) + SIZE
MOST_BYTES = 1 << 30
_ABANDONED = 3600  # seconds after which an unfinished file's writer is taken for dead
_OFF = ("0", "off", "no", "false")


@functools.lru_cache(maxsize=8)
def _opened(folder: str) -> Cache:
    return Cache(folder)


def current() -> Cache | None:
    """The cache that GRAPHFLOW_CACHE asks for; None when it is off."""
    folder = flags.cache_folder() or default_folder()
    return None if folder.lower() in _OFF else _opened(folder)


def key_of(*parts: str | bytes) -> str:
    """A name for what follows from these parts; they are told apart by their lengths."""
    contents = [p if isinstance(p, bytes) else p.encode("utf-8", "surrogatepass") for p in parts]
    return digest(piece for c in contents for piece in (len(c).to_bytes(8, "little"), c)).hex()


def default_folder() -> str:
    """Where this system keeps what a user's programs can make again; "off" for a user without a home."""
    home = os.path.expanduser("~")
    if home == "~":
        return "off"
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA", home), "graphflow", "Cache")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches", "graphflow")
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache"), "graphflow")


class Cache:
    """`read` and `write` by key. What the disk refuses turns the cache off, with one line in the log."""

    def __init__(self, folder: str, most_bytes: int = MOST_BYTES) -> None:
        self.folder = os.path.join(os.path.abspath(folder), "programs")
        self.most_bytes = most_bytes
        self._works = True
        with self._noting("use"):
            os.makedirs(os.path.dirname(self.folder), exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.folder, 0o700)
            _require_private(self.folder)

    def read(self, key: str) -> bytes | None:
        """The entry's bytes, or None."""
        path = self._path(key)
        try:
            if not self._works:
                return None
            with open(path, "rb") as f:
                data = f.read()
        except OSError:
            return None
        body = data[_HEAD:]
        if data[:_HEAD] != _head(key, body):
            with contextlib.suppress(OSError):
                os.unlink(path)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return body

    def write(self, key: str, body: bytes) -> None:
        """Keep the bytes, all of them or nothing; now and then make room."""
        if not self._works or len(body) > self.most_bytes // 4:
            return
        with self._noting("write to"):
            path = self._path(f"{os.getpid()}-{os.urandom(8).hex()}.part")
            try:
                with open(path, "xb") as f:
                    f.write(_head(key, body))
                    f.write(body)
                os.replace(path, self._path(key))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                raise
            if key.endswith("0") or len(body) > self.most_bytes // 64:  # looking at every file takes time
                self.trim()

    def trim(self) -> None:
        """Drop the least recently used entries until the rest is small enough."""
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.most_bytes:
                break
            with contextlib.suppress(OSError):  # another process was faster
                os.unlink(path)
            total -= size

    def _entries(self) -> Iterator[tuple[float, int, str]]:
        """When each entry was last used, its size and path; abandoned unfinished files go."""
        for entry in os.scandir(self.folder):
            with contextlib.suppress(OSError):
                s = entry.stat(follow_symlinks=False)
                if not entry.name.endswith(".part"):
                    yield s.st_mtime, s.st_size, entry.path
                elif s.st_mtime < time.time() - _ABANDONED:
                    os.unlink(entry.path)

    def _path(self, key: str) -> str:
        return os.path.join(self.folder, key)

    @contextlib.contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            self._works = False
            import logging

            logging.getLogger("graphflow").info("cannot %s the cache in %s, going on without it: %s",
                                                what, self.folder, e)


def _head(key: str, body: bytes) -> bytes:
    """What an entry begins with: another's bytes under its name are as wrong as bytes that were damaged."""
    return _MAGIC + digest([key.encode(), body])


def _require_private(folder: str) -> None:
    """PermissionError unless the folder is this user's, and open to no other: code is loaded from it."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{folder} is no folder")
    if os.name == "posix" and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        raise PermissionError("the folder must belong to this user and be closed to others (mode 0700)")
