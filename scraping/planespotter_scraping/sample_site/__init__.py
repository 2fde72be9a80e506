"""A small photo site with drawings of airliners, for the demo, for tests, and to try a crawl without a network."""
