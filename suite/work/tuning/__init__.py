"""Searches on validation data: the space, the studies, the section they write."""
