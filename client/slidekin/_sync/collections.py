"""The methods about collections."""

from __future__ import annotations

from collections.abc import Iterator

from slidekin import _calls
from slidekin._names import collection_name
from slidekin._sync.methods import Methods
from slidekin._types import Collection


class CollectionMethods(Methods):
    """The calls about collections."""

    def create_collection(
        self,
        collection: str,
        *,
        display_name: str = "",
        description: str = "",
        model_fingerprint: str = "",
        texture_bits: int = 0,
        hamming_threshold_bits: int = 0,
    ) -> Collection:
        """Creates an empty collection, or returns the existing one if it is equal.

        Args:
            collection: Its id.
            display_name: Name for people.
            description: What it is to hold.
            model_fingerprint: Model of its codes. Empty: the one that is served.
            texture_bits: Bits of a texture. 0: as the model that is served.
            hamming_threshold_bits: Distance up to which textures are alike. 0: the model's.

        Raises:
            AlreadyExistsError: One of that name exists and differs.
        """
        wanted = Collection(
            name=collection_name(collection),
            display_name=display_name,
            description=description,
            model_fingerprint=model_fingerprint,
            texture_bits=texture_bits,
            hamming_threshold_bits=hamming_threshold_bits,
        )
        return self._caller.call(_calls.create_collection(wanted))

    def get_collection(self, collection: str) -> Collection:
        """One collection.

        Raises:
            NotFoundError: There is none of that name.
        """
        return self._caller.call(_calls.get_collection(collection))

    def list_collections(self) -> Iterator[Collection]:
        """All collections in order of creation, page by page."""
        yield from self._caller.pages(_calls.list_collections)

    def update_collection(
        self, collection: str, *, display_name: str | None = None, description: str | None = None
    ) -> Collection:
        """Changes what is given; None leaves it as it is."""
        return self._caller.call(
            _calls.update_collection(collection, display_name=display_name, description=description)
        )

    def delete_collection(self, collection: str, *, force: bool = False) -> int:
        """Deletes a collection and returns how many slides went with it.

        Raises:
            FailedPreconditionError: It holds slides and ``force`` is not set.
        """
        return self._caller.call(_calls.delete_collection(collection, force=force))
