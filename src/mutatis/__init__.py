"""Mutatis: models that change what has to be changed, and no more."""
