"""The catalog: `catalog.csv` with one row per photo, and `images/`; read, append to and check it."""

from planespotter_scraping.catalog.store import (
    CHANGED,
    COLUMNS,
    DROPPED,
    LABEL_PATH,
    PHOTO_ID,
    REQUIRED,
    CatalogError,
    append,
    check,
    dropped,
    image_hashes,
    look_alikes,
    parse,
    photo_ids,
    read,
    rewrite,
)

__all__ = [
    "CHANGED",
    "COLUMNS",
    "DROPPED",
    "LABEL_PATH",
    "PHOTO_ID",
    "REQUIRED",
    "CatalogError",
    "append",
    "check",
    "dropped",
    "image_hashes",
    "look_alikes",
    "parse",
    "photo_ids",
    "read",
    "rewrite",
]
