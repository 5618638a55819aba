"""Weights: files, manifests, and their sources."""
