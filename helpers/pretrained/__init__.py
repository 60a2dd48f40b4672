"""Somebody else's weights, in and out: files, names, folders, the hub."""
