"""Data: from catalog rows to label tree, splits, examples and augmented batches."""
