"""Figures, each a function from sections or files to a ``Plot``."""
