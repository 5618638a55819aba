"""Reindexes among other changes and restarts, against a model that is nothing but dicts."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from prometheus_client import CollectorRegistry

from slidekin_server.archive.archive import Archive
from slidekin_server.archive.errors import ModelChangedError, PreconditionError
from slidekin_server.archive.reindex import Reindexer
from slidekin_server.storage import CollectionRecord, SlideFacts, SqliteStore, draft_name
from slidekin_server.telemetry import Metrics
from slidekin_server.values import PatchCodes

MODELS = {"one": 64, "two": 128}
SLIDES = st.sampled_from(["a", "b", "c", "d"])
PATIENTS = st.sampled_from(["p", "q"])
LABELS = st.sampled_from(["", "x", "y"])


def codes(model: str, slide: str, version: int) -> PatchCodes:
    rng = np.random.default_rng([MODELS[model], ord(slide), version])
    textures = rng.integers(0, 256, (3, MODELS[model] // 8), dtype=np.uint8)
    keys = rng.integers(0, 2**60, 3, dtype=np.int64)
    places = np.random.default_rng([ord(slide), version]).integers(0, 9999, (3, 2), dtype=np.int32)
    return PatchCodes(keys, textures, places)


class ReindexMachine(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.folder = Path(tempfile.mkdtemp())
        self.open()
        self.archive.create_collection(CollectionRecord("c", "one", MODELS["one"], 9))
        self.model = "one"
        self.held: dict[str, tuple[int, SlideFacts]] = {}
        self.draft: set[str] | None = None
        self.versions = 0
        self.newest = 0

    def open(self):
        self.store = SqliteStore.open(self.folder, synchronous="normal")
        self.archive = Archive(self.store, Metrics(CollectorRegistry()))
        self.archive.load()
        self.reindexer = Reindexer(self.archive.shelf)

    def teardown(self):
        self.store.close()
        shutil.rmtree(self.folder)

    @property
    def other(self) -> str:
        return "two" if self.model == "one" else "one"

    @rule()
    def restart(self):
        self.store.close()
        self.open()
        self.newest = 0

    @rule(slide=SLIDES, patient=PATIENTS, label=LABELS)
    def add_or_replace(self, slide, patient, label):
        self.versions += 1
        facts = SlideFacts(slide, patient, label, {"version": str(self.versions)})
        made = codes(self.model, slide, self.versions)
        with pytest.raises(ModelChangedError):
            self.archive.add_slide("c", facts, made, fingerprint=self.other, replace=True)
        self.archive.add_slide("c", facts, made, fingerprint=self.model, replace=True)
        self.held.pop(slide, None)
        self.held[slide] = (self.versions, facts)
        if self.draft is not None:
            self.draft.discard(slide)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), label=LABELS)
    def relabel(self, data, label):
        slide = data.draw(st.sampled_from(sorted(self.held)))
        self.archive.update_slide("c", slide, label=label)
        version, facts = self.held[slide]
        self.held[slide] = (version, replace(facts, label=label))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def delete(self, data):
        slide = data.draw(st.sampled_from(sorted(self.held)))
        self.archive.delete_slide("c", slide)
        self.gone([slide])

    @rule(patient=PATIENTS, everywhere=st.booleans())
    def delete_patient(self, patient, everywhere):
        theirs = [slide for slide, (_, facts) in self.held.items() if facts.patient_id == patient]
        deleted = self.archive.delete_patient(patient, collection_id=None if everywhere else "c")
        assert sorted(record.facts.slide_id for record in deleted) == sorted(theirs)
        self.gone(theirs)

    def gone(self, slides):
        for slide in slides:
            del self.held[slide]
            if self.draft is not None:
                self.draft.discard(slide)

    @rule()
    def start_reindex(self):
        self.reindexer.start(CollectionRecord("c", self.other, MODELS[self.other], 11))
        self.draft = self.draft or set()

    @precondition(lambda self: self.draft is not None and self.held)
    @rule(data=st.data())
    def encode(self, data):
        slide = data.draw(st.sampled_from(sorted(self.held)))
        reindex = self.reindexer.get("c")
        added = self.reindexer.add_slide(
            reindex, slide, codes(self.other, slide, self.held[slide][0])
        )
        assert added.already_present is (slide in self.draft)
        self.draft.add(slide)

    @precondition(lambda self: self.draft is not None)
    @rule()
    def cancel(self):
        assert self.reindexer.cancel("c") == len(self.draft)
        self.draft = None

    @precondition(lambda self: self.draft is not None)
    @rule(dropped=st.sets(SLIDES))
    def finish(self, dropped):
        missing = set(self.held) - self.draft
        if missing - dropped:
            with pytest.raises(PreconditionError):
                self.reindexer.finish("c", self.other, drop=dropped)
            return
        before = self.archive.view("c")
        view, gone = self.reindexer.finish("c", self.other, drop=dropped)
        assert gone == sorted(missing)
        assert view is self.archive.view("c")
        assert len(before.facts) == len(self.held), "a search keeps the version it began with"
        self.model = self.other
        self.held = {slide: held for slide, held in self.held.items() if slide in self.draft}
        self.draft = None

    @invariant()
    def it_holds_what_the_model_holds(self):
        view = self.archive.view("c")
        assert view.collection.fingerprint == self.model
        assert {slide: view.facts.find(slide).facts for slide in view.facts.by_id} == {
            slide: facts for slide, (_, facts) in self.held.items()
        }
        assert view.version >= self.newest
        self.newest = view.version
        assert sorted(view.snapshot.slide_numbers().tolist()) == view.facts.numbers()
        for slide, (version, _) in self.held.items():
            at_once, stored = self.archive.stored("c", slide)
            assert at_once is view
            wanted = codes(self.model, slide, version)
            for name in ("keys", "textures", "xy"):
                np.testing.assert_array_equal(getattr(stored.codes, name), getattr(wanted, name))

    @invariant()
    def the_draft_holds_what_was_encoded_and_is_still_so(self):
        found = self.reindexer.find("c")
        assert (found is None) is (self.draft is None)
        names = {record.name for record in self.store.list_collections()}
        assert (draft_name("c") in names) is (self.draft is not None)
        if self.draft is not None:
            assert set(found.draft.facts.by_id) == self.draft
            pending = [record.facts.slide_id for record in found.pending()]
            assert sorted(pending) == sorted(set(self.held) - self.draft)
            stored = self.store.list_slides(draft_name("c"))
            assert {record.facts.slide_id for record in stored} == self.draft


TestReindex = ReindexMachine.TestCase
TestReindex.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
