"""Photo catalog: `catalog.csv` with one row per photo, and `images/`; read it, append to it, check it."""

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
    near_duplicate_groups,
    parse,
    photo_ids,
    read,
    rewrite,
)
from planespotter_scraping.labels.constructors import NO_AIRCRAFT

__all__ = [
    "CHANGED",
    "COLUMNS",
    "DROPPED",
    "LABEL_PATH",
    "NO_AIRCRAFT",
    "PHOTO_ID",
    "REQUIRED",
    "CatalogError",
    "append",
    "check",
    "dropped",
    "image_hashes",
    "near_duplicate_groups",
    "parse",
    "photo_ids",
    "read",
    "rewrite",
]
