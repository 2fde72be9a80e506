"""Trains the network that names aircraft, measures it, and writes it as a bundle that the server runs."""
