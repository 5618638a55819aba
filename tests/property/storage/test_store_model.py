"""The store against a model of it that is nothing but dicts, with restarts in between."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.unit.server.store_conformance import COLLECTION, assert_same_codes, made_codes

from slidekin_server.storage import (
    ChangeKind,
    CollectionExistsError,
    CollectionNotEmptyError,
    CollectionNotFoundError,
    SlideExistsError,
    SlideFacts,
    SlideNotFoundError,
    SqliteStore,
)

COLLECTIONS = st.sampled_from(["x", "y"])
SLIDES = st.sampled_from(["a", "b", "c", "d"])
PATIENTS = st.sampled_from(["", "p", "q"])
SEEDS = st.integers(0, 5)
TEXTS = st.text(max_size=5).filter(lambda text: "\0" not in text)


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp())
        self.store = SqliteStore.open(self.folder)
        # collection -> slide -> (number, facts, seed), in order of insertion
        self.model: dict[str, dict[str, tuple[int, SlideFacts, int]]] = {}
        self.last_number = 0
        self.followed: dict[int, str] = {}
        self.sequence = 0

    def teardown(self):
        self.store.close()
        shutil.rmtree(self.folder)

    @rule()
    def restart(self):
        self.store.close()
        self.store = SqliteStore.open(self.folder)

    @rule(name=COLLECTIONS)
    def create_collection(self, name):
        if name in self.model:
            with pytest.raises(CollectionExistsError):
                self.store.create_collection(dataclasses.replace(COLLECTION, name=name))
        else:
            self.store.create_collection(dataclasses.replace(COLLECTION, name=name))
            self.model[name] = {}

    @rule(name=COLLECTIONS, force=st.booleans())
    def delete_collection(self, name, force):
        if name not in self.model:
            with pytest.raises(CollectionNotFoundError):
                self.store.delete_collection(name, force=force)
        elif self.model[name] and not force:
            with pytest.raises(CollectionNotEmptyError):
                self.store.delete_collection(name)
        else:
            gone = self.store.delete_collection(name, force=force)
            assert [one.facts.slide_id for one in gone] == list(self.model.pop(name))

    @rule(
        name=COLLECTIONS,
        slide=SLIDES,
        patient=PATIENTS,
        label=TEXTS,
        seed=SEEDS,
        replace=st.booleans(),
    )
    def add(self, *, name, slide, patient, label, seed, replace):
        facts = SlideFacts(slide, patient, label, {"key": label})
        held = self.model.get(name, {}).get(slide)
        if name not in self.model:
            with pytest.raises(CollectionNotFoundError):
                self.store.add_slide(name, facts, made_codes(seed), replace=replace)
        elif held and not replace:
            with pytest.raises(SlideExistsError):
                self.store.add_slide(name, facts, made_codes(seed))
        else:
            added = self.store.add_slide(name, facts, made_codes(seed), replace=replace)
            assert (added.replaced.number if added.replaced else None) == (held and held[0])
            assert added.record.number > self.last_number
            self.last_number = added.record.number
            self.model[name].pop(slide, None)
            self.model[name][slide] = (self.last_number, facts, seed)

    @rule(name=COLLECTIONS, slide=SLIDES, label=TEXTS)
    def relabel(self, name, slide, label):
        if slide not in self.model.get(name, {}):
            with pytest.raises((CollectionNotFoundError, SlideNotFoundError)):
                self.store.update_slide(name, slide, label=label)
        else:
            number, facts, seed = self.model[name][slide]
            self.store.update_slide(name, slide, label=label)
            self.model[name][slide] = (number, dataclasses.replace(facts, label=label), seed)

    @rule(name=COLLECTIONS, slide=SLIDES)
    def delete_slide(self, name, slide):
        if slide not in self.model.get(name, {}):
            with pytest.raises((CollectionNotFoundError, SlideNotFoundError)):
                self.store.delete_slide(name, slide)
        else:
            assert self.store.delete_slide(name, slide).number == self.model[name].pop(slide)[0]

    @rule(name=st.none() | COLLECTIONS, patient=PATIENTS.filter(bool))
    def delete_patient(self, name, patient):
        if name is not None and name not in self.model:
            with pytest.raises(CollectionNotFoundError):
                self.store.delete_patient(patient, collection=name)
            return
        wanted = []
        for collection, slides in self.model.items():
            if name in (None, collection):
                for slide, (number, facts, _) in list(slides.items()):
                    if facts.patient_id == patient:
                        wanted.append(number)
                        del slides[slide]
        gone = self.store.delete_patient(patient, collection=name)
        assert [one.number for one in gone] == sorted(wanted)

    @invariant()
    def it_holds_what_the_model_holds(self):
        assert [one.name for one in self.store.list_collections()] == list(self.model)
        for name, slides in self.model.items():
            held = list(self.store.iter_slides(name))
            found = {s.record.facts.slide_id: (s.record.number, s.record.facts) for s in held}
            assert list(found.items()) == [(key, value[:2]) for key, value in slides.items()]
            for slide, (_, _, seed) in zip(held, slides.values(), strict=True):
                assert_same_codes(slide.codes, made_codes(seed))
            assert self.store.list_slides(name) == [slide.record for slide in held]

    @invariant()
    def who_follows_the_changes_knows_which_slides_there_are(self):
        for change in self.store.changes_since(self.sequence, limit=10_000):
            self.sequence = change.sequence
            if change.kind is ChangeKind.SLIDE_ADDED:
                self.followed[change.slide_number] = change.collection
            elif change.kind is ChangeKind.SLIDE_DELETED:
                del self.followed[change.slide_number]
        assert self.sequence == self.store.last_sequence()
        assert self.followed == {
            number: name for name, slides in self.model.items() for number, *_ in slides.values()
        }


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
