"""tf.flags: command line flags. Definitions are collected, and parsed when FLAGS is first read."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse


class _Flags:
    """The values of the flags, as attributes; assignment changes one."""

    def __init__(self) -> None:
        self.__dict__["_required"] = set()
        self.__dict__["_values"] = {}
        self.__dict__["_assigned"] = set()  # set by the program, which wins over the command line
        self.__dict__["_parsed"] = False

    @functools.cached_property
    def _parser(self) -> argparse.ArgumentParser:
        """Made when first needed: most scripts have no flags."""
        import argparse

        return argparse.ArgumentParser(allow_abbrev=False)

    def __call__(self, argv: Sequence[str] | None = None, known_only: bool = False) -> list[str]:
        """Parse the arguments after argv[0]; gives argv[0] and what is no flag."""
        argv = list(sys.argv if argv is None else argv)
        found, rest = self._parser.parse_known_args(argv[1:])
        unknown = [a for a in rest if a.startswith("--")]
        if unknown and not known_only:
            self._parser.error(f"unknown flags: {' '.join(unknown)}")
        self.__dict__["_parsed"] = True
        for name, value in vars(found).items():
            if name not in self._assigned:
                self._values[name] = value
        missing = [name for name in self._required if self._values.get(name) is None]
        if missing:
            self._parser.error(f"flags without a value: {', '.join(sorted(missing))}")
        return [argv[0], *rest] if argv else rest

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._values:
            raise AttributeError(f"no flag is named {name!r}")
        if not self._parsed:
            self(known_only=True)
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self._values[name] = value
        self._assigned.add(name)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def flag_values_dict(self) -> dict[str, Any]:
        """All values by name."""
        if not self._parsed:
            self(known_only=True)
        return dict(self._values)

    def define(self, name: str, default: Any, help: str | None, parse: Callable[[str], Any],
               **options: Any) -> None:
        self._parser.add_argument(f"--{name}", f"-{name}", dest=name, default=default, type=parse,
                                  help=(help or "").replace("%", "%%"), **options)
        self._values[name] = default
        self.__dict__["_parsed"] = False


FLAGS = _Flags()


def DEFINE_string(name: str, default: Any, help: str | None = None, **kwargs: Any) -> None:
    """A flag with a text."""
    FLAGS.define(name, default, help, str)


def DEFINE_integer(name: str, default: Any, help: str | None = None, **kwargs: Any) -> None:
    """A flag with an int."""
    FLAGS.define(name, default, help, lambda text: int(text, 0))


def DEFINE_float(name: str, default: Any, help: str | None = None, **kwargs: Any) -> None:
    """A flag with a float."""
    FLAGS.define(name, default, help, float)


def DEFINE_bool(name: str, default: Any, help: str | None = None, **kwargs: Any) -> None:
    """A flag that is true or false: --name, --name=false, --noname."""
    from argparse import SUPPRESS

    FLAGS.define(name, default, help, _boolean, nargs="?", const=True)
    FLAGS._parser.add_argument(f"--no{name}", dest=name, action="store_false", default=SUPPRESS,
                               help=SUPPRESS)


DEFINE_boolean = DEFINE_bool


def DEFINE_enum(name: str, default: Any, enum_values: Sequence[str], help: str | None = None,
                **kwargs: Any) -> None:
    """A flag with one of several texts."""
    FLAGS.define(name, default, help, str, choices=list(enum_values))


def DEFINE_list(name: str, default: Any, help: str | None = None, **kwargs: Any) -> None:
    """A flag with texts parted by commas."""
    start = _texts(default) if isinstance(default, str) else default
    FLAGS.define(name, start, help, _texts)


def mark_flag_as_required(name: str) -> None:
    """A program without a value for this flag ends with an error."""
    FLAGS._required.add(name)


def _texts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def _boolean(text: str) -> bool:
    value = {"true": True, "t": True, "1": True, "yes": True, "false": False, "f": False, "0": False,
             "no": False}
    if text.lower() not in value:
        import argparse

        raise argparse.ArgumentTypeError(f"true or false is needed, not {text!r}")
    return value[text.lower()]
