"""The archive: collections of slides, kept in step in store and index, and searches over them.

``collection.Collection`` is one set of slides, ``archive.Archive`` all of them; ``ingest`` adds a
slide, ``search`` finds similar slides. The code here either blocks or uses asyncio, and knows
nothing of gRPC: the servicers of ``slidekin_server.api`` translate to and from the contract.
"""
