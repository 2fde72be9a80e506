"""Models: the registry of loaded versions and the model repository on disk."""
