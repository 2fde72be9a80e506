"""Walk through a site, in a browser or through its API, and keep its photos: crawl.py begins and ends it."""
