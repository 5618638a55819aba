"""A search sees one version of its collection, whatever happens meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.service_calls import Calls, near_codes, random_codes, slide_id

from slidekin.v1 import common_pb2, search_pb2, slides_pb2

EXACT = common_pb2.SEARCH_MODE_EXACT


def test_a_search_sees_the_version_it_began_with(calls: Calls) -> None:
    codes = random_codes(1)
    calls.add("deleted", near_codes(codes, 1))
    calls.add("relabelled", near_codes(codes, 2), label="old")
    calls.add("replaced", near_codes(codes, 3))
    before = calls.get().index_version
    begun, changed = threading.Event(), threading.Event()

    def questions() -> Iterator[search_pb2.SearchSlideRequest]:
        header, first, *rest = calls.questions(codes, mode=EXACT, k=10)
        yield header
        yield first
        assert changed.wait(60)
        yield from rest

    def change() -> None:
        assert begun.wait(60)
        calls.slides.DeleteSlide(slides_pb2.DeleteSlideRequest(name=calls.name("deleted")))
        update = slides_pb2.UpdateSlideRequest(
            slide=slides_pb2.Slide(name=calls.name("relabelled"), label="new")
        )
        calls.slides.UpdateSlide(update)
        calls.add("replaced", random_codes(5), replace=True)
        calls.add("added", near_codes(codes, 4))
        changed.set()

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        answers = []
        for answer in calls.searches.SearchSlide(questions(), timeout=60):
            begun.set()
            answers.append(answer)
        changing.result()
    ranked = answers.pop().ranked_slides
    for answer in answers:
        found = {slide_id(hit.slide) for hit in answer.patch_hits.hits}
        assert found == {"deleted", "relabelled", "replaced"}
    assert ranked.index_version == before
    labels = {slide_id(one.slide.name): one.slide.label for one in ranked.slides}
    assert labels == {"deleted": "", "relabelled": "old", "replaced": ""}
    assert set(calls.search(codes, mode=EXACT, k=2).slides) == {"relabelled", "added"}


def test_searches_beside_writers_see_whole_slides_only(calls: Calls) -> None:
    """A slide is visible with all its patches or with none, in every search."""
    codes = random_codes(1)
    writers, rounds = 2, 12
    done = threading.Event()

    def write(writer: int) -> None:
        for number in range(rounds):
            slide = f"w{writer}-{number % 3}"
            calls.add(slide, near_codes(codes, 10 * writer + number), replace=True)
            if number % 4 == 3:
                calls.slides.DeleteSlide(slides_pb2.DeleteSlideRequest(name=calls.name(slide)))

    def search() -> int:
        searches = 0
        while not done.is_set():
            found = calls.search(codes, mode=EXACT, k=10, max_hits_per_patch=50)
            by_patch = [{hit.slide for hit in bag.hits} for bag in found.bags.values()]
            assert len(by_patch) == 8
            assert all(slides == by_patch[0] for slides in by_patch)
            assert {one.slide.name for one in found.ranked.slides} == by_patch[0]
            searches += 1
        return searches

    with ThreadPoolExecutor(writers + 1) as pool:
        searching = pool.submit(search)
        writing = [pool.submit(write, writer) for writer in range(writers)]
        try:
            for one in writing:
                one.result()
        finally:
            done.set()
        assert searching.result() > 0
    collection = calls.get()
    assert collection.slide_count == len(calls.held())
    assert collection.patch_count == 8 * collection.slide_count
