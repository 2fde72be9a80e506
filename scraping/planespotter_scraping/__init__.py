"""Collects photos of aircraft with their labels into catalogs.

- `catalog.py` is the format that training reads; `labels.py` reads what a site prints into constructor, family and
  model, with the tables of `designators.py` and `specials.py`.
- `sites/` reads the pages of each site, and `crawling/` walks through them; `sample_site/` is a site to try it on.
- `folders.py` imports the user's own photos, and `cleaning/` takes out what is not worth training on.
- `stats.py` counts, `tables.py` and `explore/` show it; `looks.py` knows which photos look alike.
- `cli.py` and `cli_catalog.py` are the commands.
"""
