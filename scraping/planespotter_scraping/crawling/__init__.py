"""Crawling: read a site's photos in a headless browser or through its API. `crawl.scrape` is the entry point."""
