"""Scraping: collect aircraft photos with labels into catalogs.

- `sites/` parses the pages of each site, `crawling/` crawls them, and `sample_site/` is a site to try it on.
- `catalog/` is the format that training reads, with statistics, review, attribution and folder import.
- `labels/` parses type labels into constructor, family and model; `images/` validates images and finds near duplicates.
- `cleaning/` drops photos that are unsuitable for training; `explore/` and `console/` report on a catalog.
- `cli.py` and `cli_catalog.py` are the commands.
"""
