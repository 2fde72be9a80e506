"""Console output: progress bars, tables and summaries."""
