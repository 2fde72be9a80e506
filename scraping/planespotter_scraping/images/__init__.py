"""Images: validation on download, and near-duplicate search."""
