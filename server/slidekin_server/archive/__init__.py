"""The archive: collections of slides, their store and their index in step, and searches over them.

``collection.Collection`` is one set of slides, ``archive.Archive`` all of them; ``ingest`` brings a
slide in, ``search`` finds slides that look like one. Everything here blocks or is asyncio without
gRPC: the servicers of ``slidekin_server.api`` translate between this and the contract.
"""
