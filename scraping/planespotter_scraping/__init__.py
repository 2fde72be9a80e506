"""Collects photos of aircraft with their labels into catalogs."""
