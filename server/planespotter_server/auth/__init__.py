"""Access: tokens, rate limits, TLS and the transport policy."""
