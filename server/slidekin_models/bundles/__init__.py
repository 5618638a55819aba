"""Bundles: a pair of networks with all that serves it, and stores of them."""
