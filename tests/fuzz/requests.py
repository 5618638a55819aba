"""What strangers send: one strategy for each way of being wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from tests.fuzz.calls import Ending, Request
from tests.fuzz.messages import COLLECTIONS, SLIDES, messages
from tests.fuzz.methods import CONTRACT, STANDARD, Method
from tests.fuzz.mutation import Mutator
from tests.fuzz.pictures import PICTURES
from tests.service_calls import FINGERPRINT

from slidekin.v1 import common_pb2, search_pb2, slides_pb2

_IMAGE_METHODS = tuple(
    method for method in CONTRACT if method.name in {"AddSlide", "SearchSlide", "SearchPatches"}
)
_HEADERS = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (slides_pb2.AddSlideHeader, search_pb2.SearchSlideHeader)
}
_KEYS = (
    "authorization", "x-api-key", "traceparent", "tracestate", "grpc-timeout", "user-agent",
    "content-type", "te", "grpc-encoding", "x-odd", "cookie", "x-forwarded-for", "idempotency-key",
)  # fmt: skip
_HOSTILE_VALUES = (
    "", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Basic YTpi", "Bearer " + "A" * 4000,
    "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-" + "f" * 32 + "-" + "f" * 16 + "-ff", "ff-zz",
    "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA",
    "sk_live_" + "0" * 32, "1n", "99999999H", "identity", "gzip", "-1", "%00%0a", "~" * 200,
)  # fmt: skip


def orderly(chance: random.Random) -> SearchStrategy[Request]:
    """Streams in the right order, whatever is in them."""
    method = chance.choices((*CONTRACT, *STANDARD), _WEIGHTS)[0]
    return st.builds(lambda sent: Request(method.path, _packed(sent)), _in_order(method))


def disorderly(chance: random.Random) -> SearchStrategy[Request]:
    """Headers twice, patches first, ends in the middle, nothing at all, streams that break off."""
    streams = [method for method in CONTRACT if method.takes_stream]
    method = chance.choice((*streams, *streams, chance.choice(CONTRACT)))
    endings = (Ending.COMPLETE,) * 8 + (Ending.CANCEL,) * 3 + (Ending.SILENCE,)
    ending = chance.choice(endings)
    return st.builds(
        lambda sent, also: Request(method.path, _packed((*sent, *also)), ending=ending),
        _in_order(method),
        st.lists(messages(method.request), max_size=4),
    ).flatmap(_shuffled)


def mutated(chance: random.Random) -> SearchStrategy[Request]:
    """Bytes that were a message once, or never."""
    method = chance.choice((*CONTRACT, *CONTRACT, *STANDARD))
    seed = st.integers(0, 2**32 - 1)
    return st.builds(
        lambda sent, number: Request(
            method.path,
            tuple(Mutator(number + place).mutate(one) for place, one in enumerate(_packed(sent))),
        ),
        _in_order(method),
        seed,
    )


def odd_metadata(chance: random.Random) -> SearchStrategy[Request]:
    """Headers that say anything, paths that lead nowhere, deadlines that are over."""
    method = chance.choice(CONTRACT)
    plain = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
    text = st.one_of(st.sampled_from(_HOSTILE_VALUES), plain)
    pairs = st.one_of(
        st.tuples(st.sampled_from(_KEYS), text),
        st.tuples(st.sampled_from(("x-odd-bin", "grpc-trace-bin", "grpc-tags-bin")), st.binary()),
    )
    paths = (method.path,) * 8 + (
        "/", "/x", "/slidekin.v1.SlideService/", "/slidekin.v1.SlideService/getslide",
        "/slidekin.v2.SlideService/GetSlide", method.path + "/", "//" + method.path,
    )  # fmt: skip
    return st.builds(
        lambda sent, metadata, path, timeout_s: Request(
            path, _packed(sent), metadata=tuple(metadata), timeout_s=timeout_s
        ),
        _in_order(method),
        st.lists(pairs, max_size=8),
        st.sampled_from(paths),
        st.sampled_from((20.0,) * 6 + (0.001, 0.0)),
    )


def images(chance: random.Random) -> SearchStrategy[Request]:
    """Image files, whole and damaged, on every road that takes them."""
    method = chance.choice(_IMAGE_METHODS)
    formats = st.sampled_from((1, 1, 1, 2, 2, 2, 3, 0, 9))
    damaged = st.builds(
        lambda data, seed: Mutator(seed).mutate_picture(data) if seed % 4 else data,
        st.sampled_from(PICTURES),
        st.integers(0, 2**32 - 1),
    )
    sides = st.sampled_from((0, 0, 64, 1024, -1, 2**31 - 1))
    image = st.builds(
        lambda kind, data, width, height: common_pb2.Image(
            format=kind, data=data, width_px=width, height_px=height
        ),
        formats,
        damaged,
        sides,
        sides,
    )
    patches = st.lists(
        st.builds(
            lambda image, thumbnail: common_pb2.Patch(image=image, thumbnail=thumbnail),
            image,
            st.one_of(st.none(), st.none(), image),
        ),
        min_size=1,
        max_size=3,
    )  # fmt: skip
    slides = st.sampled_from([f"collections/{c}/slides/{s}" for c in COLLECTIONS for s in SLIDES])

    def request(patches: list[common_pb2.Patch], slide: str) -> Request:
        parent = slide.partition("/slides/")[0]
        batch = common_pb2.PatchBatch(patches=patches)
        if method.name == "SearchPatches":
            whole = search_pb2.SearchPatchesRequest(parent=parent, patches=patches)
            return Request(method.path, _packed([whole]))
        if method.name == "SearchSlide":
            header = search_pb2.SearchSlideHeader(parent=parent)
            sent = [method.request(header=header), method.request(patches=batch)]
            return Request(method.path, _packed(sent))
        opening = slides_pb2.AddSlideHeader(slide=slides_pb2.Slide(name=slide), replace=True)
        end = slides_pb2.AddSlideEnd(patch_count=len(patches))
        return Request(
            method.path,
            _packed(
                [
                    method.request(header=opening),
                    method.request(patches=batch),
                    method.request(end=end),
                ]
            ),
        )

    return st.builds(request, patches, slides)


_OFTEN = {"AddSlide": 8, "SearchSlide": 3, "SearchPatches": 3, "SearchStoredSlide": 2}
_SELDOM = {"DeleteCollection", "DeletePatient", "CreateSnapshot", *(m.name for m in STANDARD)}
_WEIGHTS = [
    0.05 if method.name in _SELDOM else _OFTEN.get(method.name, 1)
    for method in (*CONTRACT, *STANDARD)
]
"""So that there is something to find and to change."""

KINDS: dict[str, Callable[[random.Random], SearchStrategy[Request]]] = {
    "rpc-messages": orderly,
    "rpc-streams": disorderly,
    "rpc-bytes": mutated,
    "rpc-metadata": odd_metadata,
    "rpc-images": images,
}
"""By the name of their target."""


@st.composite
def _in_order(draw: DrawFn, method: Method) -> Sequence[object]:
    """What a method takes: a message, or a header, patches, and an end where there is one."""
    if not method.takes_stream or method in STANDARD:
        return [draw(messages(method.request))]
    header_kind = method.request.DESCRIPTOR.fields_by_name["header"].message_type
    header = draw(messages(_HEADERS[header_kind.full_name]))
    if draw(st.integers(0, 9)):
        header.model_fingerprint = FINGERPRINT
    batches = draw(st.lists(messages(common_pb2.PatchBatch), max_size=3))
    sent = [method.request(header=header), *(method.request(patches=batch) for batch in batches)]
    if "end" in method.request.DESCRIPTOR.fields_by_name:
        count = sum(len(batch.patches) for batch in batches)
        off = draw(st.sampled_from((0,) * 12 + (1, -1, 2**31 - 1)))
        count = min(max(count + off, -(2**31)), 2**31 - 1)
        sent.append(method.request(end=slides_pb2.AddSlideEnd(patch_count=count)))
    return sent


def _packed(sent: Sequence[object]) -> tuple[bytes, ...]:
    return tuple(message.SerializeToString() for message in sent)  # type: ignore[attr-defined]


def _shuffled(request: Request) -> SearchStrategy[Request]:
    """The same messages: in order, in another, some of them missing or twice."""
    sent = request.messages
    if not sent:
        return st.just(request)
    places = st.lists(st.integers(0, len(sent) - 1), max_size=len(sent) + 2)

    def again(order: Sequence[int]) -> Request:
        return replace(request, messages=tuple(sent[place] for place in order))

    return st.one_of(st.just(range(len(sent))), places).map(again)
