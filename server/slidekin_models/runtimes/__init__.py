"""Runtimes that run a network: one module for each library."""
