"""The gRPC interface: servicers that translate, validate and call, and nothing else.

Every exception leaves through ``errors.status_of``: clients see canonical codes with details,
never a stack trace.
"""
