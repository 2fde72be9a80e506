"""The server: answers over gRPC with the network of a bundle."""
