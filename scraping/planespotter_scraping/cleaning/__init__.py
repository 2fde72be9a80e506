"""Take out of a catalog what is not worth training on, and cut bars off: clean.py does it, rules.py says what."""
