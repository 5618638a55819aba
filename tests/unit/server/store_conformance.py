"""What every store must do. Subclass `StoreTests` and give it the fixture ``store``."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from slidekin_server.storage import (
    Change,
    ChangeKind,
    CollectionExistsError,
    CollectionNotEmptyError,
    CollectionNotFoundError,
    CollectionRecord,
    Picture,
    PictureFormat,
    Pictures,
    SlideExistsError,
    SlideFacts,
    SlideNotFoundError,
    Store,
    StoredSlide,
    content_digest,
    draft_name,
)
from slidekin_server.values import PatchCodes

BITS = 1024
COLLECTION = CollectionRecord("colon", "ab" * 32, BITS, 128, "Colon", "All of them")
FACTS = SlideFacts(
    slide_id="S 1/ä",
    patient_id="Müller",
    label="adenoma",
    attributes={"stain": "H&E", "side": "links"},
    width_px=40_000,
    height_px=30_000,
    mpp=0.2525,
    patch_size_px=2028,
    source_digest="cd" * 32,
)


def made_codes(seed: int, patches: int = 5, bits: int = BITS) -> PatchCodes:
    """Codes as encoders might make them."""
    rng = np.random.default_rng(seed)
    return PatchCodes(
        keys=rng.integers(0, 2**63 - 1, patches, dtype=np.int64, endpoint=True),
        textures=rng.integers(0, 256, (patches, bits // 8), dtype=np.uint8),
        xy=rng.integers(0, 2**31 - 1, (patches, 2), dtype=np.int32),
    )


def assert_same_codes(found: PatchCodes, wanted: PatchCodes) -> None:
    """Equal in values, types and shapes."""
    for name in ("keys", "textures", "xy"):
        left, right = getattr(found, name), getattr(wanted, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def ids(slides) -> list[str]:
    return [
        (slide.record if isinstance(slide, StoredSlide) else slide).facts.slide_id
        for slide in slides
    ]


class StoreTests:
    """The promises of `Store`."""

    @pytest.fixture
    def colon(self, store: Store) -> Store:
        store.create_collection(COLLECTION)
        return store

    def add(self, store: Store, slide_id: str, patient: str = "p", **facts) -> int:
        stated = SlideFacts(slide_id, patient, **facts)
        return store.add_slide("colon", stated, made_codes(1)).record.number

    # Collections

    def test_a_collection_comes_back_as_it_was_made_with_its_time(self, store: Store):
        before = datetime.now(UTC) - timedelta(milliseconds=1)
        made = store.create_collection(COLLECTION)
        assert made.create_time is not None
        assert before <= made.create_time <= datetime.now(UTC)
        assert dataclasses.replace(made, create_time=None) == COLLECTION
        assert store.get_collection("colon") == made

    def test_collections_are_listed_in_order_of_creation(self, store: Store):
        for name in ("z", "a", "m"):
            store.create_collection(dataclasses.replace(COLLECTION, name=name))
        assert [one.name for one in store.list_collections()] == ["z", "a", "m"]

    def test_a_second_collection_of_a_name_is_refused_with_the_first(self, colon: Store):
        with pytest.raises(CollectionExistsError, match="colon") as caught:
            colon.create_collection(COLLECTION)
        assert caught.value.record == colon.get_collection("colon")

    def test_updating_a_collection_changes_what_is_given(self, colon: Store):
        colon.update_collection("colon", display_name="Darm")
        changed = colon.update_collection("colon", description="")
        assert (changed.display_name, changed.description) == ("Darm", "")
        assert colon.get_collection("colon") == changed

    def test_a_missing_collection_is_named_by_every_method(self, store: Store):
        for call in (
            lambda: store.get_collection("none"),
            lambda: store.update_collection("none", description="x"),
            lambda: store.delete_collection("none"),
            lambda: store.add_slide("none", FACTS, made_codes(1)),
            lambda: store.get_slide("none", "s"),
            lambda: store.load_slide("none", "s"),
            lambda: store.list_slides("none"),
            lambda: list(store.iter_slides("none")),
            lambda: store.update_slide("none", "s", label="x"),
            lambda: store.delete_slide("none", "s"),
            lambda: store.delete_patient("p", collection="none"),
            lambda: store.slide_picture("none", "s"),
            lambda: store.patch_pictures("none", "s", [0], most_bytes=1),
        ):
            with pytest.raises(CollectionNotFoundError, match="'none'"):
                call()
        assert store.last_sequence() == 0

    def test_a_collection_with_slides_goes_only_by_force(self, colon: Store):
        self.add(colon, "a")
        with pytest.raises(CollectionNotEmptyError, match="1 slides"):
            colon.delete_collection("colon")
        assert ids(colon.list_slides("colon")) == ["a"]
        assert ids(colon.delete_collection("colon", force=True)) == ["a"]
        assert colon.list_collections() == []

    def test_a_collection_made_anew_is_empty(self, colon: Store):
        self.add(colon, "a")
        colon.delete_collection("colon", force=True)
        colon.create_collection(COLLECTION)
        assert colon.list_slides("colon") == []

    # Slides

    @pytest.mark.parametrize("patches", [0, 1, 60])
    def test_a_slide_comes_back_as_it_was_added(self, colon: Store, patches: int):
        codes = made_codes(7, patches)
        added = colon.add_slide("colon", FACTS, codes)
        assert added.replaced is None
        assert added.record.facts == FACTS
        assert added.record.patch_count == patches
        assert added.record.content_digest == content_digest(FACTS, codes)
        assert colon.get_slide("colon", FACTS.slide_id) == added.record
        loaded = colon.load_slide("colon", FACTS.slide_id)
        assert loaded.record == added.record
        assert_same_codes(loaded.codes, codes)
        (streamed,) = colon.iter_slides("colon")
        assert streamed.record == added.record
        assert_same_codes(streamed.codes, codes)

    def test_what_is_loaded_cannot_be_changed_by_mistake(self, colon: Store):
        colon.add_slide("colon", FACTS, made_codes(1))
        with pytest.raises(ValueError, match="read-only"):
            colon.load_slide("colon", FACTS.slide_id).codes.keys[0] = 1

    def test_slides_are_listed_in_order_of_insertion_and_page_by_page(self, colon: Store):
        names = ["z", "a", "m", "b"]
        numbers = [self.add(colon, name) for name in names]
        assert numbers == sorted(set(numbers))
        assert ids(colon.iter_slides("colon")) == names
        first = colon.list_slides("colon", limit=3)
        assert ids(first) == names[:3]
        assert ids(colon.list_slides("colon", after=first[-1].number, limit=3)) == names[3:]
        assert colon.list_slides("colon", after=numbers[-1]) == []

    def test_collections_do_not_see_each_others_slides(self, colon: Store):
        colon.create_collection(dataclasses.replace(COLLECTION, name="lung"))
        colon.add_slide("lung", FACTS, made_codes(1))
        self.add(colon, "a")
        assert ids(colon.list_slides("colon")) == ["a"]
        with pytest.raises(SlideNotFoundError, match="S 1/ä"):
            colon.get_slide("colon", FACTS.slide_id)

    def test_a_number_is_never_used_twice(self, colon: Store):
        first = self.add(colon, "a")
        colon.delete_slide("colon", "a")
        assert self.add(colon, "a") > first

    def test_a_second_slide_of_a_name_is_refused_with_the_first(self, colon: Store):
        added = colon.add_slide("colon", FACTS, made_codes(1))
        with pytest.raises(SlideExistsError, match="S 1/ä") as caught:
            colon.add_slide("colon", FACTS, made_codes(2))
        assert caught.value.record == added.record
        assert_same_codes(colon.load_slide("colon", FACTS.slide_id).codes, made_codes(1))

    def test_replacing_puts_the_new_slide_last_and_the_old_one_away(self, colon: Store):
        old = colon.add_slide(
            "colon", FACTS, made_codes(1), Pictures(patches={0: Picture(PictureFormat.PNG, b"x")})
        )
        self.add(colon, "b")
        new = colon.add_slide("colon", FACTS, made_codes(2), replace=True)
        assert new.replaced == old.record
        assert ids(colon.list_slides("colon")) == ["b", FACTS.slide_id]
        assert_same_codes(colon.load_slide("colon", FACTS.slide_id).codes, made_codes(2))
        assert colon.patch_pictures("colon", FACTS.slide_id, [0], most_bytes=1) == {}

    def test_replacing_what_is_not_there_adds(self, colon: Store):
        assert colon.add_slide("colon", FACTS, made_codes(1), replace=True).replaced is None

    def test_textures_of_another_width_change_nothing(self, colon: Store):
        before = colon.last_sequence()
        with pytest.raises(ValueError, match="1280 bits"):
            colon.add_slide("colon", FACTS, made_codes(1, bits=1280), replace=True)
        assert colon.list_slides("colon") == []
        assert colon.last_sequence() == before

    def test_arrays_that_do_not_belong_together_are_refused(self, colon: Store):
        codes = made_codes(1)
        with pytest.raises(ValueError, match="same patches"):
            colon.add_slide("colon", FACTS, dataclasses.replace(codes, keys=codes.keys[1:]))

    def test_updating_a_slide_changes_what_is_given(self, colon: Store):
        added = colon.add_slide("colon", FACTS, made_codes(1)).record
        changed = colon.update_slide("colon", FACTS.slide_id, label="carcinoma")
        facts = dataclasses.replace(FACTS, label="carcinoma")
        assert changed == dataclasses.replace(added, facts=facts)
        changed = colon.update_slide("colon", FACTS.slide_id, attributes={})
        facts = dataclasses.replace(facts, attributes={})
        assert changed == dataclasses.replace(added, facts=facts)
        assert colon.get_slide("colon", FACTS.slide_id) == changed
        assert_same_codes(colon.load_slide("colon", FACTS.slide_id).codes, made_codes(1))

    def test_a_missing_slide_is_named_by_every_method(self, colon: Store):
        for call in (
            lambda: colon.get_slide("colon", "none"),
            lambda: colon.load_slide("colon", "none"),
            lambda: colon.update_slide("colon", "none", label="x"),
            lambda: colon.delete_slide("colon", "none"),
            lambda: colon.slide_picture("colon", "none"),
            lambda: colon.patch_pictures("colon", "none", [0], most_bytes=1),
        ):
            with pytest.raises(SlideNotFoundError, match="'none'"):
                call()

    def test_a_deleted_slide_is_gone_and_the_others_stay(self, colon: Store):
        for name in ("a", "b", "c"):
            self.add(colon, name)
        assert colon.delete_slide("colon", "b").facts.slide_id == "b"
        assert ids(colon.list_slides("colon")) == ["a", "c"]
        with pytest.raises(SlideNotFoundError):
            colon.get_slide("colon", "b")

    def test_a_patient_is_deleted_in_one_collection_or_in_all(self, colon: Store):
        colon.create_collection(dataclasses.replace(COLLECTION, name="lung"))
        self.add(colon, "a", "p")
        self.add(colon, "b", "q")
        self.add(colon, "c", "")
        for name, patient in (("d", "p"), ("e", "q")):
            colon.add_slide("lung", SlideFacts(name, patient), made_codes(1))
        assert ids(colon.delete_patient("p", collection="colon")) == ["a"]
        assert ids(colon.delete_patient("q")) == ["b", "e"]
        assert colon.delete_patient("q") == []
        assert ids(colon.list_slides("colon")) == ["c"]
        assert ids(colon.list_slides("lung")) == ["d"]

    def test_slides_without_a_patient_are_no_ones(self, colon: Store):
        self.add(colon, "a", "")
        with pytest.raises(ValueError, match="empty"):
            colon.delete_patient("")
        assert ids(colon.list_slides("colon")) == ["a"]

    # Pictures

    def test_pictures_come_back_for_the_patches_that_have_one(self, colon: Store):
        overview = Picture(PictureFormat.JPEG, b"overview")
        small = {index: Picture(PictureFormat.PNG, bytes([index])) for index in (0, 3)}
        colon.add_slide("colon", FACTS, made_codes(1), Pictures(overview, small))
        assert colon.slide_picture("colon", FACTS.slide_id) == overview
        assert (
            colon.patch_pictures("colon", FACTS.slide_id, [3, 1, 0, 99, -1], most_bytes=10**9)
            == small
        )
        few = colon.patch_pictures("colon", FACTS.slide_id, [3, 1, 0], most_bytes=0)
        assert len(few) == 1
        self.add(colon, "without")
        assert colon.slide_picture("colon", "without") is None

    # Changes

    def test_changes_tell_what_happened_in_order_and_go_on_from_anywhere(self, colon: Store):
        colon.update_collection("colon", description="new")
        a = self.add(colon, "a")
        colon.update_slide("colon", "a", label="x")
        b = colon.add_slide("colon", SlideFacts("a"), made_codes(3), replace=True).record.number
        colon.delete_slide("colon", "a")
        colon.delete_collection("colon")
        wanted = [
            (ChangeKind.COLLECTION_CREATED, None),
            (ChangeKind.COLLECTION_UPDATED, None),
            (ChangeKind.SLIDE_ADDED, a),
            (ChangeKind.SLIDE_UPDATED, a),
            (ChangeKind.SLIDE_DELETED, a),
            (ChangeKind.SLIDE_ADDED, b),
            (ChangeKind.SLIDE_DELETED, b),
            (ChangeKind.COLLECTION_DELETED, None),
        ]
        changes = colon.changes_since(0)
        assert [(one.kind, one.slide_number) for one in changes] == wanted
        assert all(isinstance(one, Change) and one.collection == "colon" for one in changes)
        sequences = [one.sequence for one in changes]
        assert sequences == sorted(set(sequences))
        assert colon.changes_since(sequences[3], limit=2) == changes[4:6]
        assert colon.last_sequence() == sequences[-1]

    # Drafts

    def drafted(self, store: Store) -> Store:
        """A collection of three slides, and a draft with two of them."""
        draft = dataclasses.replace(
            COLLECTION, name=draft_name("colon"), fingerprint="ef" * 32, texture_bits=512
        )
        for number, slide in enumerate("abc"):
            self.add(store, slide, patient=f"p{number}")
        store.create_collection(draft)
        for number, slide in enumerate("ba"):
            facts = store.get_slide("colon", slide).facts
            store.add_slide(draft.name, facts, made_codes(number, bits=512))
        return store

    def test_slides_are_counted_over_all_collections_and_without_drafts(self, colon: Store):
        assert colon.count_slides() == 0
        self.drafted(colon)
        held = len(colon.list_slides("colon"))
        assert held > 0
        assert colon.count_slides() == held
        colon.create_collection(dataclasses.replace(COLLECTION, name="skin"))
        facts = dataclasses.replace(colon.list_slides("colon")[0].facts, slide_id="other")
        colon.add_slide("skin", facts, made_codes(0))
        assert colon.count_slides() == held + 1
        colon.delete_slide("skin", "other")
        assert colon.count_slides() == held

    def test_a_draft_takes_its_collections_place(self, colon: Store):
        pictures = Pictures(
            Picture(PictureFormat.PNG, b"s"), {1: Picture(PictureFormat.JPEG, b"p")}
        )
        self.drafted(colon)
        facts = colon.get_slide("colon", "b").facts
        colon.add_slide("colon", facts, made_codes(5), pictures, replace=True)
        colon.add_slide(draft_name("colon"), facts, made_codes(0, bits=512))
        colon.update_slide("colon", "a", label="changed")
        before = {slide: colon.get_slide("colon", slide) for slide in "ab"}
        record, slides = colon.adopt_draft("colon", {"a", "b"})
        assert record == dataclasses.replace(
            colon.get_collection("colon"), fingerprint="ef" * 32, texture_bits=512
        )
        assert [one.name for one in colon.list_collections()] == ["colon"]
        assert slides == colon.list_slides("colon")
        assert ids(slides) == ["a", "b"]
        for slide in slides:
            old = before[slide.facts.slide_id]
            assert (slide.facts, slide.create_time) == (old.facts, old.create_time)
            assert slide.content_digest != old.content_digest
        assert_same_codes(colon.load_slide("colon", "a").codes, made_codes(1, bits=512))
        assert colon.slide_picture("colon", "b") == pictures.slide
        assert colon.patch_pictures("colon", "b", [0, 1], most_bytes=10**9) == pictures.patches
        with pytest.raises(CollectionNotFoundError):
            colon.adopt_draft("colon", ())

    def test_a_draft_holds_nothing_that_its_collection_does_not_hold(self, colon: Store):
        self.drafted(colon)
        draft = draft_name("colon")
        colon.delete_slide("colon", "a")
        assert ids(colon.list_slides(draft)) == ["b"]
        colon.add_slide("colon", SlideFacts("b", "p1"), made_codes(9), replace=True)
        assert colon.list_slides(draft) == []
        facts = colon.get_slide("colon", "b").facts
        for scope in ("colon", None):
            colon.add_slide(draft, facts, made_codes(1, bits=512))
            deleted = colon.delete_patient("p1", collection=scope)
            assert sorted(slide.collection for slide in deleted) == sorted(["colon", draft])
            assert colon.list_slides(draft) == []
            colon.add_slide("colon", facts, made_codes(9))
        assert colon.delete_collection("colon", force=True)
        assert colon.list_collections() == []

    # Threads

    def test_many_threads_write_and_read_at_the_same_time(self, colon: Store):
        def work(worker: int) -> None:
            for turn in range(8):
                name = f"{worker}-{turn}"
                self.add(colon, name, f"patient {worker}")
                assert colon.load_slide("colon", name).record.facts.slide_id == name
                assert name in ids(colon.iter_slides("colon"))
            colon.delete_slide("colon", f"{worker}-0")

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        held = colon.list_slides("colon")
        assert sorted(ids(held)) == sorted(f"{w}-{t}" for w in range(6) for t in range(1, 8))
        assert [one.number for one in held] == sorted(one.number for one in held)
