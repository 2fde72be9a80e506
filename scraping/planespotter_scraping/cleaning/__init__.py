"""Catalog cleaning: `clean.py` applies the rules of `rules.py`, and undoes it."""
