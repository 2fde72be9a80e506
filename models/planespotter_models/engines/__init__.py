"""Engines: what runs a model bundle on a CPU or GPU."""
