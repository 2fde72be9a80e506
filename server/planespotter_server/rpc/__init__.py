"""RPC: the gRPC service, interceptor, status mapping and message converters."""
