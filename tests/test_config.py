from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinema.config import from_dict, from_json, load_json, nearest, save_json, to_dict, unknown
from kinema.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class Inner:
    width: int
    name: str = "one"


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    more: tuple[Inner, ...] = ()
    patch: tuple[int, int, int] = (1, 2, 2)
    rate: float = 1.0
    mode: Literal["fast", "slow"] = "fast"
    limit: int | None = None
    either: int | str = 0
    folder: Path | None = None
    flags: dict[str, bool] = field(default_factory=dict)


FULL = Outer(
    inner=Inner(width=3),
    more=(Inner(width=4, name="two"), Inner(width=5)),
    patch=(1, 1, 4),
    rate=0.25,
    mode="slow",
    limit=7,
    either="x",
    folder=Path("a/b"),
    flags={"on": True},
)


def test_a_nested_configuration_survives_a_round_trip_through_a_file(tmp_path: Path) -> None:
    save_json(FULL, tmp_path / "config.json")
    assert load_json(Outer, tmp_path / "config.json") == FULL
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@settings(deadline=None, derandomize=True)
@given(
    st.builds(Inner, width=st.integers(), name=st.text()),
    st.floats(allow_nan=False),
    st.one_of(st.none(), st.integers()),
)
def test_every_value_survives_a_round_trip(inner: Inner, rate: float, limit: int | None) -> None:
    config = Outer(inner=inner, rate=rate, limit=limit)
    assert from_dict(Outer, to_dict(config)) == config


def test_fields_left_out_take_their_defaults() -> None:
    assert from_dict(Outer, {"inner": {"width": 1}}) == Outer(inner=Inner(width=1))


def test_an_integer_is_a_float_where_a_float_is_wanted() -> None:
    rate = from_dict(Outer, {"inner": {"width": 1}, "rate": 2}).rate
    assert isinstance(rate, float)
    assert rate == 2.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"inner": {"widht": 3}}, "unknown field of Inner 'inner.widht'; did you mean 'width'?"),
        ({}, "inner is missing"),
        ({"inner": {"width": "3"}}, "inner.width is '3'; it takes an integer"),
        ({"inner": {"width": True}}, "inner.width is True; it takes an integer"),
        ({"inner": {"width": 1}, "more": [{"width": 1}, {}]}, r"more\[1\].width is missing"),
        ({"inner": {"width": 1}, "more": "no"}, "more is 'no'; it takes a list"),
        ({"inner": {"width": 1}, "patch": [1, 2]}, r"patch is \[1, 2\]; it takes a list of 3 values"),
        ({"inner": {"width": 1}, "mode": "fats"}, "did you mean 'fast'"),
        ({"inner": {"width": 1}, "limit": 1.5}, "limit is 1.5; it takes an integer"),
        ({"inner": {"width": 1}, "either": 1.5}, "either is 1.5; it takes an integer or text"),
        ({"inner": {"width": 1}, "flags": {"on": 1}}, "flags.on is 1; it takes true or false"),
        ({"inner": {"width": 1}, "flags": 1}, "flags is 1; it takes an object"),
        ({"inner": 4}, "inner is 4; it takes an object with the fields of Inner"),
        (4, "the configuration is 4; it takes an object with the fields of Outer"),
    ],
)
def test_a_mistake_is_named_by_its_place(data: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        from_dict(Outer, data)  # type: ignore[arg-type]


def test_broken_json_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(SpecError, match=r"broken\.json: not valid JSON"):
        load_json(Inner, path)
    with pytest.raises(SpecError, match="cannot read"):
        load_json(Inner, tmp_path / "missing.json")


def test_json_that_is_no_object_is_refused() -> None:
    with pytest.raises(SpecError, match="takes an object"):
        from_json(Inner, "[1]")


def test_a_value_that_json_cannot_hold_is_our_own_mistake() -> None:
    with pytest.raises(TypeError, match="cannot hold"):
        to_dict(Outer(inner=Inner(width=1), either={1}))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="instance of a dataclass"):
        to_dict(Inner)


def test_the_nearest_name_ignores_case_and_gives_up_on_nonsense() -> None:
    assert nearest("EULAR", ["heun", "euler"]) == "euler"
    assert nearest("xyzzy", ["heun", "euler"]) is None
    assert unknown("solver", "xyzzy", ["heun", "euler"]) == "unknown solver 'xyzzy'; known: euler, heun"
