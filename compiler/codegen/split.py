"""A module's text in parts that can be compiled at once."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ITEM = re.compile(r"^define (?:.*\n)*?}$|^\S.*$", re.MULTILINE)
_NAME = re.compile(r"@([\w.]+)")
_INLINE = "#1 {"  # how the first line of a function ends that is part of whatever calls it
_EACH = 1500  # characters of text that take as long to compile as what any function takes


def split_module(ir: str, parts: int) -> list[str]:
    """So many modules, of about the same size, that have the functions of one among them.

    Functions that are called from another part are hidden rather than internal.

    Example:  define internal void @f() { ... }     define void @g() { call void @f() ... }
    -->       define hidden void @f() { ... }       declare hidden void @f()  define void @g() { ... }
    """
    if parts < 2:
        return [ir]
    items = _ITEM.findall(ir)
    named = {m[1]: item for item in items if item[0] in "@d" and (m := _NAME.search(item))}
    refers = {name: dict.fromkeys(n for n in _NAME.findall(item) if n != name and n in named)
              for name, item in named.items()}
    functions = [name for name, item in named.items() if _is_function(item)]
    shares = _shares(functions, named, parts)
    home = {name: k for k, share in enumerate(shares) for name in share}
    abroad = {name for f, part in home.items() for name in _needed([f], named, refers)
              if home.get(name, part) != part}
    unnamed = [item for item in items if item[0] not in "@d"]
    texts = []
    for k, share in enumerate(shares):
        needed = _needed(share, named, refers)
        lines = [_in_part(named[n], n in abroad, home.get(n, k) == k) for n in needed]
        texts.append("\n".join([*lines, *unnamed, ""]))
    return texts


def _is_function(item: str) -> bool:
    return item.startswith("define") and not item.partition("\n")[0].endswith(_INLINE)


def _shares(functions: list[str], named: dict[str, str], parts: int) -> list[list[str]]:
    """The functions in so many parts: the largest first, each to the smallest part so far."""
    shares: list[list[str]] = [[] for _ in range(parts)]
    sizes = [0] * parts
    for name in sorted(functions, key=lambda name: -len(named[name])):
        k = sizes.index(min(sizes))
        shares[k].append(name)
        sizes[k] += len(named[name]) + _EACH
    return shares


def _needed(share: Iterable[str], named: dict[str, str], refers: dict[str, dict[str, None]]) -> list[str]:
    """These functions, and all that they name, or that is to be a part of them, in order."""
    found = dict.fromkeys(share)
    queue = list(found)
    for name in queue:
        for other in refers[name]:
            if other not in found:
                found[other] = None
                if not _is_function(named[other]):
                    queue.append(other)
    return list(found)


def _in_part(item: str, is_abroad: bool, is_home: bool) -> str:
    if not is_abroad:
        return item
    hidden = item.replace("define internal", "define hidden", 1)
    return hidden if is_home else hidden.partition("\n")[0].replace("define", "declare", 1).removesuffix(" {")
