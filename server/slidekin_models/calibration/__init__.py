"""The Hamming threshold of a texture network, from tissue."""
