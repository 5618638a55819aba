"""Collections and slides on disk: what is acknowledged stays."""

from .errors import (
    CollectionExistsError,
    CollectionNotEmptyError,
    CollectionNotFoundError,
    DamagedSlideError,
    DamagedStoreError,
    NewerSchemaError,
    SlideExistsError,
    SlideNotFoundError,
    StorageError,
    StoreFullError,
    StoreInUseError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from .packing import content_digest
from .records import (
    NO_PICTURES,
    AddedSlide,
    Change,
    ChangeKind,
    CollectionRecord,
    Picture,
    PictureFormat,
    Pictures,
    SlideFacts,
    SlideRecord,
    StoredSlide,
)
from .sqlite import SqliteStore
from .store import Store

__all__ = [
    "NO_PICTURES",
    "AddedSlide",
    "Change",
    "ChangeKind",
    "CollectionExistsError",
    "CollectionNotEmptyError",
    "CollectionNotFoundError",
    "CollectionRecord",
    "DamagedSlideError",
    "DamagedStoreError",
    "NewerSchemaError",
    "Picture",
    "PictureFormat",
    "Pictures",
    "SlideExistsError",
    "SlideFacts",
    "SlideNotFoundError",
    "SlideRecord",
    "SqliteStore",
    "StorageError",
    "Store",
    "StoreFullError",
    "StoreInUseError",
    "StoreReadOnlyError",
    "StoreUnavailableError",
    "StoredSlide",
    "content_digest",
]
