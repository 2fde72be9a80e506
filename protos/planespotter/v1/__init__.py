"""The contract of planespotter, generated from the .proto files beside it."""
