"""The networks behind slidekin: definitions, weights, manifests, bundles.

Runs inside Triton and in commands; the search service reads only the ``bundle.yaml`` written here
and never imports this package.
"""
