"""Serving: admission control, dynamic batching, streams and concurrency limits; knows no gRPC."""
