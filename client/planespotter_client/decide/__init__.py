"""Deciding again: other confidence levels and other evidence for predictions whose probabilities were kept."""
