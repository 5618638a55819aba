"""The networks: definitions, their parts, and random ones."""
