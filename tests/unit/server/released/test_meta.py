from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.published_release import drawn_patches, text_of

from slidekin_server.released.errors import ReleaseError, SlideRefusedError
from slidekin_server.released.facts import FactsFile, SlideRow, read_facts
from slidekin_server.released.matching import check_equal, insertion_order
from slidekin_server.released.meta import FieldNames, Meta, MetaFacts, read_meta
from slidekin_server.values import PatchCodes

BITS = [text_of(texture) for texture in drawn_patches(8, seed=2).textures]
NO_NAMES = FieldNames()


def patch(number: int, slide: str = "s", **changed: Any) -> dict[str, Any]:
    return {"bits": BITS[number], "slide": slide, "x": number, "y": 2 * number, **changed}


def read(index: Any, names: FieldNames = NO_NAMES, known: str = "st") -> Meta:
    return read_meta(io.BytesIO(pickle.dumps(index)), "meta.pkl", names, set(known))


def without(name: str) -> dict[str, Any]:
    whole = patch(0)
    del whole[name]
    return whole


def test_patches_come_key_by_key_in_order_of_insertion():
    meta = read({9: [patch(0), patch(1, "t")], 4: [patch(2)], 9.0 + 1: [patch(3, "t")]})
    assert meta.slides == ("s", "t")
    assert meta.patches.keys.tolist() == [9, 9, 4, 10]
    assert meta.slide_of.tolist() == [0, 1, 0, 1]
    assert meta.patches.xy.tolist() == [[0, 0], [1, 2], [2, 4], [3, 6]]
    assert [text_of(texture) for texture in meta.patches.textures] == BITS[:4]
    mine = meta.patches_by_slide()["s"]
    assert (mine.keys.tolist(), mine.xy.tolist()) == ([4, 9], [[2, 4], [0, 0]])


def test_patches_of_one_slide_and_key_keep_their_order():
    meta = read({9: [patch(3), patch(1), patch(2)]})
    assert meta.patches_by_slide()["s"].xy[:, 0].tolist() == [3, 1, 2]


def test_the_texture_may_be_a_list_and_have_any_name():
    entry = {"slide": "s", "x": 1, "y": 2, "anything": [int(bit) for bit in BITS[0]]}
    assert text_of(read({1: [entry]}).patches.textures[0]) == BITS[0]


def test_label_and_patient_are_the_fields_that_the_caller_names():
    index = {1: [patch(0, diagnosis="d", case="c")], 2: [patch(1, diagnosis="d", case="c")]}
    assert read(index).facts == {"s": MetaFacts()}
    assert read(index, FieldNames(label="diagnosis", patient="case")).facts == {
        "s": MetaFacts("d", "c")
    }


def test_the_slide_is_the_field_that_the_caller_names():
    index = {1: [patch(0, "s", site="t")]}
    with pytest.raises(ReleaseError, match=r"2 fields .* say with --slide-field"):
        read(index)
    assert read(index, FieldNames(slide="site")).slides == ("t",)


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ([], "no dict"),
        ({}, "holds no patches"),
        ({"text": [patch(0)]}, "a key is text of 4"),
        ({-1: [patch(0)]}, "a key is"),
        ({1.5: [patch(0)]}, "a key is"),
        ({10**15: [patch(0)]}, "a key is"),
        ({float("nan"): [patch(0)]}, "a key is"),
        ({1: patch(0)}, "no list of patches"),
        ({1: []}, "no list of patches"),
        ({1: ["s"]}, "text of 1; a dict"),
        ({1: [["s", 1, 2]]}, "list of 3; a dict"),
        ({1: [without("x")]}, "x and y"),
        ({1: [patch(0, y=-1)]}, "x and y"),
        ({1: [patch(0, y=0.5)]}, "x and y"),
        ({1: [patch(0, y="1")]}, "x and y"),
        ({1: [patch(0, x=2**31)]}, "x and y"),
        ({1: [patch(0, more=BITS[1])]}, "2 fields of its first patch hold 1024 bits"),
        ({1: [without("bits")]}, "0 fields of its first patch hold 1024 bits"),
        ({1: [patch(0), patch(1, bits="01")]}, "no texture"),
        ({1: [patch(0), patch(1, slide=5)]}, "no text in 'slide': number"),
        ({1: [patch(0, slide="\ud800"), patch(1)]}, "name a slide of LATENT"),
        ({1: [patch(0), patch(1, slide="\ud800")]}, "decode|UTF-8"),
        (
            {1: [patch(0, "elsewhere")]},
            r"--slide-field.*bits \(text of 1024\), slide \(text of 9\)",
        ),
    ],
)
def test_another_index_is_refused(index: Any, reason: str):
    with pytest.raises(ReleaseError, match=reason):
        read(index)


def test_a_key_that_comes_twice_is_refused():
    item = pickle.dumps([patch(0)], 2)[2:-1]
    data = b"\x80\x02}(K\x01" + item + b"G\x3f\xf0\0\0\0\0\0\0" + pickle.dumps([], 2)[2:-1] + b"u."
    with pytest.raises(ReleaseError, match="key 1 comes twice"):
        read_meta(io.BytesIO(data), "meta.pkl", FieldNames(), {"s"})


@pytest.mark.parametrize("names", [FieldNames(label="no"), FieldNames(patient="no")])
def test_a_named_field_must_be_there(names: FieldNames):
    with pytest.raises(ReleaseError, match="no field 'no'"):
        read({1: [patch(0)]}, names)


def test_a_slide_has_one_label_and_the_refusal_does_not_tell_it():
    index = {1: [patch(0, label="secret")], 2: [patch(1, label="other")]}
    with pytest.raises(ReleaseError, match="differ in their label") as refusal:
        read(index, FieldNames(label="label"))
    assert "secret" not in str(refusal.value)


def test_the_fields_are_told_by_kind_and_not_by_value():
    with pytest.raises(ReleaseError, match=r"name \(text of 6\)") as refusal:
        read({1: [{"name": "secret", "x": 1}]})
    assert "secret" not in str(refusal.value)


def test_slides_come_in_an_order_that_keeps_each_keys_order():
    # By first appearance t would come first; under key 1 it comes after s.
    meta = read({7: [patch(0, "t")], 1: [patch(1, "s"), patch(2, "t")]})
    assert meta.slides == ("t", "s")
    assert insertion_order(meta) == (["s", "t"], True)


def test_slides_that_nothing_orders_come_as_they_appear():
    assert insertion_order(read({7: [patch(0, "t")], 1: [patch(1, "s")]})) == (["t", "s"], True)


def test_slides_added_in_turns_have_no_order_and_that_is_said():
    index = {1: [patch(0, "s"), patch(1, "t"), patch(2, "s")]}
    assert insertion_order(read(index)) == (["s", "t"], False)


def equal(patches: PatchCodes, **changed: Any) -> None:
    by_key = np.argsort(patches.keys, kind="stable")
    published = {name: getattr(patches, name)[by_key] for name in ("keys", "textures", "xy")}
    check_equal("s", patches, PatchCodes(**{**published, **changed}))


def test_equal_descriptions_pass_whatever_the_order_of_keys():
    equal(drawn_patches(20, seed=4))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"keys": [1, 1, 2, 4]}, "1 keys of meta.pkl do not follow"),
        ({"xy": [[0, 1], [2, 3], [4, 5], [6, 8]]}, "coordinates of 1 patches .* x 6, y 8"),
        # The two patches of key 1, the other way round.
        ({"xy": [[2, 3], [0, 1], [4, 5], [6, 7]]}, "coordinates of 2 patches"),
        ({"textures": np.ones((4, 128))}, "textures of 4 patches"),
        ({"keys": [1, 1, 2]}, "holds 4 patches and meta.pkl 3"),
    ],
)
def test_descriptions_that_differ_are_refused(changed: Any, reason: str):
    patches = PatchCodes(
        np.array([1, 1, 2, 3]), np.zeros((4, 128), np.uint8), np.arange(8).reshape(4, 2)
    )
    with pytest.raises(SlideRefusedError, match=reason):
        equal(patches, **{name: np.array(value) for name, value in changed.items()})


def test_a_row_wins_over_the_release_and_the_release_over_the_name(tmp_path: Path):
    file = tmp_path / "facts.csv"
    file.write_text("slide,patient,label,stain\na,p,l,H&E\nb,,,\n", encoding="utf-8-sig")
    facts = read_facts(file, "^(..)")
    assert facts.of("a", MetaFacts("x", "y")) == SlideRow("p", "l", {"stain": "H&E"})
    assert facts.of("b", MetaFacts("x", "y")) == SlideRow("y", "x")
    assert facts.of("TCGA-1", MetaFacts()) == SlideRow("TC", "")
    assert facts.of("T", MetaFacts()) == SlideRow()
    assert FactsFile().of("T", MetaFacts()) == SlideRow()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "first line"),
        (b"slide,patient\n", "no label"),
        (b"slide;patient;label\n", "commas"),
        (b"slide,patient,label\na,b,c,d\n", "line 2: more fields"),
        (b"slide,patient,label\na,b,c\na,b,c\n", "line 3: slide 'a' comes twice"),
        (b"slide,patient,label\n\xff,b,c\n", "UTF-8"),
    ],
)
def test_another_file_of_facts_is_refused(content: bytes, reason: str, tmp_path: Path):
    file = tmp_path / "facts.csv"
    file.write_bytes(content)
    with pytest.raises(ReleaseError, match=reason):
        read_facts(file, None)
    with pytest.raises(ReleaseError, match="No such file"):
        read_facts(tmp_path / "missing.csv", None)


@pytest.mark.parametrize("pattern", ["(", "^TCGA", "(a)(b)"])
def test_another_pattern_is_refused(pattern: str):
    with pytest.raises(ReleaseError, match=r"regular expression|one group"):
        read_facts(None, pattern)
