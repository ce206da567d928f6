"""Records do what frozen dataclasses do."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace

import pytest

from graphflow.compiler.records import options, record


def shape_of(decorate):
    @decorate
    class Shape:
        """A test's class."""

        kind: str
        sides: int = 4
        names: list[str] = field(default_factory=list)
        note: str = field(default="", compare=False, repr=False)

        @property
        def double(self) -> int:
            return 2 * self.sides

    return Shape


Shape, Model = shape_of(record), shape_of(dataclass(frozen=True))


@pytest.mark.parametrize("args, given", [(("square",), {}), (("triangle", 3), {"names": ["a"]}),
                                         ((), {"kind": "hexagon", "sides": 6, "note": "n"})])
def test_they_are_made_and_shown_alike(args, given):
    mine, model = Shape(*args, **given), Model(*args, **given)
    assert repr(mine) == repr(model) and mine.double == model.double
    assert [f.name for f in fields(mine)] == [f.name for f in fields(model)] and is_dataclass(Shape)
    assert mine == Shape(*args, **given) and mine != replace(mine, sides=9) and mine != model
    assert mine == replace(mine, note="another")
    assert Shape("x").names is not Shape("x").names
    made = shape_of(record)
    assert {repr(made(*args, **given)) for _ in range(50)} == {repr(mine)}  # its __init__ compiled on the way


@pytest.mark.parametrize("args, given", [((), {}), (("a", 1, [], "", 5), {}), (("a",), {"kind": "b"}),
                                         (("a",), {"colour": 1})])
def test_wrong_arguments_are_refused(args, given):
    for _ in range(2):
        with pytest.raises(TypeError, match="argument"):
            shape_of(record)(*args, **given)
    with pytest.raises(TypeError, match="argument"):
        Shape(*args, **given)


def test_they_are_keys_and_stay_as_they_are():
    @record
    class Point:
        x: int
        y: int = 0

    assert {Point(1): "a"}[Point(1, 0)] == "a" and hash(Point(1)) != hash(Point(2))
    for change in (lambda p: setattr(p, "x", 2), lambda p: setattr(p, "z", 2), lambda p: delattr(p, "x")):
        with pytest.raises(FrozenInstanceError):
            change(Point(1))
    match Point(3, 4):
        case Point(x, y):
            assert (x, y) == (3, 4)


def test_a_classs_own_methods_and_slots_stay():
    @record
    class Odd:
        __slots__ = ("value",)

        value: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Odd) and self.value % 2 == other.value % 2

        def __repr__(self) -> str:
            return "odd"

    assert Odd(1) == Odd(3) and repr(Odd(1)) == "odd" and not hasattr(Odd(1), "__dict__")

    @record
    class Child(Shape):
        age: int = 1

    assert Child("a", age=5).age == 5 and Child("a").double == 8 and Child("a") != Shape("a")


def test_options_may_be_set_but_not_misspelt():
    @options
    class Settings:
        threads: int = 0
        devices: dict[str, int] = field(default_factory=dict)

    settings = Settings(threads=2)
    settings.threads = 3
    settings.devices["cpu"] = 1
    assert repr(settings) == repr(settings) and settings.threads == 3 and Settings().devices == {}
    for wrong in (lambda: setattr(settings, "thread", 1), lambda: Settings(thread=1)):
        with pytest.raises((AttributeError, TypeError), match="thread"):
            wrong()
