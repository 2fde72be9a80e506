"""The contract of planespotter, by version."""
