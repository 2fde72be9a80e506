"""Evaluation: predictions, scoring, metrics with confidence intervals, and calibration."""
