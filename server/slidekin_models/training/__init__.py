"""Training of the VQ-VAE without labels: from a folder of slides to a model directory.

Needs the extra ``slidekin[train]``; nothing that serves a model imports it.
"""
