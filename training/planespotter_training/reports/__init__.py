"""Reports: evaluation reports, run comparisons, the baseline ladder, charts and heat maps."""
