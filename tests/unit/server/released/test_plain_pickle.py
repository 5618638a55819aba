from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slidekin_server.released.plain_pickle import RefusedPickleError, read_dict, read_list

SCALARS = st.one_of(
    st.text(max_size=300),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.floats(allow_nan=False),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.integers(-5, 5), inner, max_size=4)
    ),
    max_leaves=12,
).filter(lambda value: depth_of(value) <= 5)
PROTOCOLS = st.integers(2, pickle.HIGHEST_PROTOCOL)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def listed(data: bytes) -> list[Any]:
    return list(read_list(io.BytesIO(data), "file.pkl"))


def mapped(data: bytes) -> list[tuple[Any, Any]]:
    return list(read_dict(io.BytesIO(data), "file.pkl"))


@given(st.lists(VALUES, max_size=5), PROTOCOLS, st.booleans())
def test_a_list_is_read_as_pickle_reads_it(values: list[Any], protocol: int, optimised: Any):
    data = pickle.dumps(values, protocol)
    data = pickletools.optimize(data) if optimised else data
    assert listed(data) == pickle.loads(data)


@given(st.dictionaries(st.integers(0, 10**15) | st.text(max_size=5), VALUES), PROTOCOLS)
def test_a_dict_is_read_as_pickle_reads_it(values: dict[Any, Any], protocol: int):
    assert mapped(pickle.dumps(values, protocol)) == list(values.items())


def test_more_items_than_a_pickler_writes_at_once():
    values = {number: [str(number)] for number in range(5000)}
    assert dict(mapped(pickle.dumps(values))) == values


@given(st.lists(VALUES, max_size=3), st.data())
def test_a_damaged_file_is_refused_or_read_and_nothing_else(values: list[Any], data: Any):
    damaged = bytearray(pickle.dumps(values))
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RefusedPickleError):
        listed(bytes(damaged))


@example(b"P\\\x00")
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read_and_nothing_else(data: bytes):
    with contextlib.suppress(RefusedPickleError):
        mapped(b"\x80\x04" + data)


@given(st.lists(VALUES, min_size=1, max_size=3), st.data())
def test_a_file_cut_off_is_refused(values: list[Any], data: Any):
    whole = pickle.dumps(values)
    with pytest.raises(RefusedPickleError):
        listed(whole[: data.draw(st.integers(0, len(whole) - 1))])


class Calling:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: ["a", {"b": [x]}]])
def test_a_pickle_that_calls_is_refused_and_calls_nothing(protocol: int, wrap: Any, tmp_path: Path):
    made = tmp_path / "made"
    data = pickle.dumps(wrap(Calling(made)), protocol)
    for read in (listed, mapped):
        with pytest.raises(RefusedPickleError):
            read(data)
    assert not made.exists()
    pickle.loads(data)
    assert made.exists(), "the same bytes do call something when they are unpickled"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(np.int64(1), id="numpy scalar"),
        pytest.param(np.zeros(3), id="numpy array"),
        pytest.param((1, 2), id="tuple"),
        pytest.param({1, 2}, id="set"),
        pytest.param(None, id="none"),
        pytest.param(True, id="bool"),
        pytest.param(b"bytes", id="bytes"),
        pytest.param(bytearray(b"bytes"), id="bytearray"),
        pytest.param(OrderedDict(a=1), id="subclass of dict"),
        pytest.param(1j, id="complex"),
        pytest.param(print, id="function"),
        pytest.param(int, id="class"),
        pytest.param(Path("x"), id="object"),
        pytest.param(2**64, id="large integer"),
        pytest.param(1 << 100_000, id="huge integer"),
        pytest.param("x" * 70_000, id="long text"),
    ],
)
def test_other_values_are_refused(value: Any):
    for protocol in range(2, 6):
        with pytest.raises(RefusedPickleError):
            listed(pickle.dumps([value], protocol))


def test_the_refusal_names_what_was_asked_for():
    with pytest.raises(RefusedPickleError, match=r"GLOBAL \('os system'\).*nothing of it was run"):
        listed(b"\x80\x02]cos\nsystem\nX\x02\x00\x00\x00id\x85Ra.")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "exhausted"),
        (b"(lp0\n.", "binary pickle"),
        (pickle.dumps([1], 0), "binary pickle"),
        (b"\x80\x09].", "protocol 9"),
        (b"\x80\x04\x80\x04].", "binary pickle"),
        (b"\x80\x04}.", "no list"),
        (b"\x80\x04K\x01.", "no list"),
        (b"\x80\x04].extra", "follows"),
        (b"\x80\x04](K\x01.", "left over"),
        (b"\x80\x04]K\x01.", "left over"),
        (b"\x80\x04.", "left over"),
        (b"\x80\x04]e.", "no beginning"),
        (b"\x80\x04](a.", "missing"),
        (b"\x80\x04a.", "missing"),
        (b"\x80\x04\x94].", "missing"),
        (b"\x80\x04]}K\x01a.", "no list"),
        (b"\x80\x04]]K\x01K\x02s.", "no dict"),
        (b"\x80\x04]}](K\x01u.", "no dict"),
        (b"\x80\x04]}(K\x01ua.", "pair"),
        (b"\x80\x04]}]K\x01sa.", "key of a dict"),
        (b"\x80\x04]}(K\x01K\x01K\x01K\x02ua.", "twice"),
        (b"\x80\x04]h\x05a.", "second time"),
        (b"\x80\x04]\x94h\x00a.", "second time"),
        (b"\x80\x04](" + b"K\x01" * 70_000 + b"e.", "wait"),
        (b"\x80\x04" + b"]" * 20 + b"a" * 19 + b".", "deep"),
        (b"\x80\x04" + b"]" * 60_000 + b"a" * 59_999 + b".", "deep"),
        (b"\x80\x04]\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", "bytes"),
        (b"\x80\x04]X\xff\xff\xff\xffabc", "bytes"),
        (b"\x80\x04]\x8b\xff\xff\xff\x7fabc", "bytes"),
        (b"\x80\x04]X\x02\x00\x00\x00\xff\xffa.", "decode"),
        (b"\x80\x04]\x82\x01a.", "EXT1"),
        (b"\x80\x04]Pid\na.", "PERSID"),
        (b"\x80\x04]c" + b"a" * 10_000 + b"\nb\na.", "refused"),
    ],
)
def test_hostile_and_broken_bytes_are_refused(data: bytes, reason: str):
    with pytest.raises(RefusedPickleError, match=reason):
        listed(data)


def test_a_frame_or_memo_place_that_claims_much_costs_nothing():
    frame = b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f"
    put, get = b"r\xff\xff\xff\x7f", b"j\xff\xff\xff\x7f"
    assert listed(b"\x80\x04" + frame + b"](\x8c\x01a" + put + get + b"e.") == ["a", "a"]


def test_strings_are_the_only_thing_referred_to_again():
    shared, long = [1], "x" * 1000
    assert listed(pickle.dumps(["name", "name"])) == ["name", "name"]
    with pytest.raises(RefusedPickleError, match="second time"):
        listed(pickle.dumps([shared, shared]))
    with pytest.raises(RefusedPickleError, match="second time"):
        listed(pickle.dumps([long, long]))


def test_items_come_while_the_file_is_being_read():
    file = io.BytesIO(pickle.dumps([[str(n) * 100] for n in range(50_000)]))
    next(read_list(file, "file.pkl"))
    assert file.tell() < 1_000_000
