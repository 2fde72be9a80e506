"""The contract of planespotter, generated from the .proto files next to it."""
