"""Console output: progress bars, tables and the summaries of a command."""
