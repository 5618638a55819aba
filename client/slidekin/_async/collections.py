"""The methods about collections."""

from __future__ import annotations

from collections.abc import AsyncIterator

from slidekin import _calls
from slidekin._async.methods import AsyncMethods
from slidekin._names import collection_name
from slidekin._types import Collection


class AsyncCollectionMethods(AsyncMethods):
    """The calls about collections, awaited."""

    async def create_collection(
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

        See `Client.create_collection`.
        """
        wanted = Collection(
            name=collection_name(collection),
            display_name=display_name,
            description=description,
            model_fingerprint=model_fingerprint,
            texture_bits=texture_bits,
            hamming_threshold_bits=hamming_threshold_bits,
        )
        return await self._caller.call(_calls.create_collection(wanted))

    async def get_collection(self, collection: str) -> Collection:
        """One collection.

        See `Client.get_collection`.
        """
        return await self._caller.call(_calls.get_collection(collection))

    async def list_collections(self) -> AsyncIterator[Collection]:
        """All collections in order of creation, page by page.

        See `Client.list_collections`.
        """
        async for item in self._caller.pages(_calls.list_collections):
            yield item

    async def update_collection(
        self, collection: str, *, display_name: str | None = None, description: str | None = None
    ) -> Collection:
        """Changes what is given; None leaves it as it is.

        See `Client.update_collection`.
        """
        return await self._caller.call(
            _calls.update_collection(collection, display_name=display_name, description=description)
        )

    async def delete_collection(self, collection: str, *, force: bool = False) -> int:
        """Deletes a collection and returns how many slides went with it.

        See `Client.delete_collection`.
        """
        return await self._caller.call(_calls.delete_collection(collection, force=force))
