"""Sample site: a small photo site with drawings of airliners, for the demo, tests and crawls without a network."""
