"""The server: classifies photos over gRPC, with dynamic batching, admission control and model updates."""
