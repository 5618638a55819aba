"""The service as users of the SDK reach it: one client, shared, with the SDK's own retries."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image
from tests.chaos.calls import BUDGET_S, IMAGE_BUDGET_S, CallLog, Kind
from tests.faults.asked import Found
from tests.faults.content import content, patient
from tests.service_calls import FINGERPRINT, TEXTURE_BITS, THRESHOLD_BITS

from slidekin import Client, Codes, ImagePatch, SearchOptions, SearchResult, Slide
from slidekin.slides import encode_patch
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_server.values import PatchCodes

CODES, IMAGES = "codes", "images"
"""Collections of a run."""
PATCH_PX = 1024


class AskedBySdk:
    """Slides by ready-made codes."""

    def __init__(self, client: Client, log: CallLog) -> None:
        self._client = client
        self._log = log

    def create(self) -> None:
        """Create the collection."""
        self._client.create_collection(
            CODES,
            model_fingerprint=FINGERPRINT,
            texture_bits=TEXTURE_BITS,
            hamming_threshold_bits=THRESHOLD_BITS,
        )

    def add(self, slide: str, version: int, generation: int, *, replace: bool) -> None:
        facts = Slide(
            f"collections/{CODES}/slides/{slide}", patient_id=patient(slide), label=str(version)
        )
        with self._log.call(Kind.INGEST, repeatable=True):
            self._client.add_slide_codes(
                facts,
                as_codes(content(version, generation)),
                model_fingerprint=FINGERPRINT,
                replace=replace,
                timeout_s=BUDGET_S,
            )

    def delete(self, slide: str) -> None:
        with self._log.call(Kind.DELETE, repeatable=False):
            self._client.delete_slide(slide, collection=CODES)

    def delete_patient(self, patient_id: str) -> None:
        with self._log.call(Kind.DELETE, repeatable=False):
            self._client.delete_patient(patient_id, collection=CODES)

    def search(self, version: int, generation: int, *, exact: bool) -> Found:
        with self._log.call(Kind.SEARCH, repeatable=True):
            result = self._client.search_codes(
                as_codes(content(version, generation)),
                collection=CODES,
                k=5,
                options=SearchOptions(mode="exact" if exact else "hybrid"),
                model_fingerprint=FINGERPRINT,
                timeout_s=BUDGET_S,
            )
        return Found(
            hits={
                bag.query_patch_index: frozenset(
                    (hit.slide.rpartition("/")[2], hit.key) for hit in bag.hits
                )
                for bag in result.patch_hits
            },
            ranked=[(one.slide.slide_id, int(one.slide.label)) for one in result.slides],
        )


class ImagesBySdk:
    """Slides by pictures, which Triton's networks encode."""

    def __init__(self, client: Client, log: CallLog) -> None:
        self._client = client
        self._log = log

    def create(self) -> None:
        """Create the collection, of the model that is served."""
        self._client.create_collection(IMAGES)

    def add(self, slide: str, version: int) -> None:
        facts = Slide(f"collections/{IMAGES}/slides/{slide}", label=str(version))
        pictures = image_content(version)
        with self._log.call(Kind.IMAGE_INGEST, repeatable=True):
            self._client.add_slide_images(facts, pictures, replace=True, timeout_s=IMAGE_BUDGET_S)

    def search(self, version: int) -> SearchResult:
        pictures = image_content(version)
        with self._log.call(Kind.IMAGE_SEARCH, repeatable=True):
            return self._client.search_images(
                pictures, collection=IMAGES, k=3, timeout_s=IMAGE_BUDGET_S
            )


@lru_cache(maxsize=64)
def image_content(version: int) -> tuple[ImagePatch, ...]:
    """Pictures of a version: no two versions have one in common."""
    count = 1 + version % 2
    return tuple(
        ImagePatch(x_px=PATCH_PX * number, y_px=version, data=encode_patch(Image.fromarray(pixels)))
        for number, pixels in enumerate(stained_pictures(count, PATCH_PX, seed=version))
    )


def as_codes(codes: PatchCodes) -> Codes:
    """Codes as the SDK takes them."""
    return Codes(keys=codes.keys, textures=codes.textures, xy=codes.xy)
