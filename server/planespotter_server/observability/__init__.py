"""Observability: metrics, traces and structured logs."""
