"""Bundles, which hold a pair of networks with everything needed to serve it, and model stores."""
