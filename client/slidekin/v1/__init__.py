"""Stubs generated from ``protos/slidekin/v1`` by ``make proto``. Do not edit."""
