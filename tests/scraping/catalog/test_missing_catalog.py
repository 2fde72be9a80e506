"""Commands that need a catalog, given another folder."""

from pathlib import Path

import pytest

from planespotter_scraping import catalog
from planespotter_scraping.catalog import CatalogError


def test_folder_of_photos_is_not_a_catalog_and_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "my planes"
    folder.mkdir()
    (folder / "747.jpg").touch()
    with pytest.raises(CatalogError, match=r"planespotter catalog import '.*/my planes' --out CATALOG\."):
        catalog.read(folder)


def test_missing_catalog_names_the_command_that_scrapes_one(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="Create one with `planespotter scrape"):
        catalog.read(tmp_path / "missing")
