"""What a module says of a name that it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

_MODULES = ("", ".nn", ".math", ".train", ".image", ".linalg", ".random", ".initializers", ".bitwise",
            ".errors", ".nest")
_LEAST, _BESIDE, _MOST = 0.65, 0.12, 3  # how like a name is, how much less than the best, and how many


def missing_names(module: str) -> Callable[[str], object]:
    """A module's `__getattr__`."""
    def getattr_(name: str) -> object:
        raise AttributeError(_text(module, name))

    return getattr_


def _text(module: str, name: str) -> str:
    if name.startswith("__"):
        return f"module {module!r} has no attribute {name!r}"
    from graphflow.lacking import LACKING

    if name in LACKING[module].split():
        elsewhere = [f", but there is {place}" for n, place in _there(module) if n == name]
        return (f"{module} has no {name!r} yet{''.join(elsewhere[:1])}: README.md lists what there is; an op "
                f"of your own is one record, see graphflow.extend")
    like = _like(name, dict(reversed([*_there(module), *_lacking(module)])))
    asked = f"; did you mean {' or '.join(like)}?" if like else ""
    return f"{module} has no {name!r}, nor has TensorFlow 1{asked}"


def _like(name: str, places: dict[str, str]) -> list[str]:
    """Where the names most like this one are: the name itself, if it is anywhere."""
    from difflib import SequenceMatcher

    if name in places:
        return [places[name]]
    likeness = SequenceMatcher(b=name.lower())
    scores = []
    for n, place in places.items():
        likeness.set_seq1(n.lower())
        if likeness.real_quick_ratio() >= _LEAST and likeness.quick_ratio() >= _LEAST:
            scores.append((-likeness.ratio(), place))
    scores.sort()
    return [place for score, place in scores[:_MOST] if -score >= max(_LEAST, -scores[0][0] - _BESIDE)]


def _there(module: str) -> Iterator[tuple[str, str]]:
    """Each name that there is, and where, as a user writes it; those of this module come first."""
    for m in _modules(module):
        yield from ((n, f"{_short(m)}.{n}") for n in _public(m))


def _lacking(module: str) -> Iterator[tuple[str, str]]:
    from graphflow.lacking import LACKING

    for m in _modules(module):
        yield from ((n, f"{_short(m)}.{n} (not there yet)") for n in LACKING.get(m, "").split())


def _modules(first: str) -> list[str]:
    return sorted((f"graphflow{m}" for m in _MODULES), key=lambda m: m != first)


def _public(module: str) -> list[str]:
    """What a module is for; where it does not say so, what it has made."""
    found = vars(import_module(module))
    own = (module, "graphflow.compiler.ir.opdef")
    names = found.get("__all__") or [n for n, v in found.items() if getattr(v, "__module__", "") in own]
    return [n for n in names if not n.startswith("_")]


def _short(module: str) -> str:
    return module.replace("graphflow", "tf", 1)
