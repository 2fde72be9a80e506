"""Authentication: tokens, TLS, rate limits and where the server may listen."""
