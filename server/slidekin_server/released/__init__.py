"""What the published SISH program released, read as data and sent into a running service.

``plain_pickle`` reads pickles without the pickle machine; ``latent`` and ``meta`` know the files;
``matching`` holds them against each other; ``service`` sends slides. The layer above sees only
`import_release`, and nothing here sees the service's insides: it is a client of its gRPC interface.
"""

from slidekin_server.released.errors import ReleaseError, SlideRefusedError
from slidekin_server.released.facts import FactsFile, read_facts
from slidekin_server.released.importing import Outcome, Release, import_release, open_release
from slidekin_server.released.meta import FieldNames
from slidekin_server.released.service import Service

__all__ = [
    "FactsFile",
    "FieldNames",
    "Outcome",
    "Release",
    "ReleaseError",
    "Service",
    "SlideRefusedError",
    "import_release",
    "open_release",
    "read_facts",
]
