"""Weights and what is known of them: files, manifests, and where they come from."""
