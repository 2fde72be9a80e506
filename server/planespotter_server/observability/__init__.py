"""Observability: metrics for Prometheus, traces for OpenTelemetry, structured logs."""
