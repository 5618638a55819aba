"""Measures the Hamming threshold of a texture network on tissue."""
