"""Outliers: photos that a network does not recognize, and photos with an unusual contrast."""

from pathlib import Path

import numpy as np
import pandas as pd
from tests.scraping.cleaning.test_clean import jpeg, scene

from planespotter_scraping import catalog
from planespotter_scraping.catalog.predictions import PredictionRow
from planespotter_scraping.explore import page
from planespotter_scraping.explore.outliers import contrast_outliers, unfamiliar_photos
from planespotter_scraping.images.similarity import ImageScan


def frame_of(count: int, constructor: str = "Airbus", source: str = "site") -> pd.DataFrame:
    names = [f"{source}-{number}" for number in range(count)]
    files = [f"images/{name}.jpg" for name in names]
    return pd.DataFrame({"photo_id": names, "file": files, "constructor": constructor, "source": source})


def prediction(probability: str, constructor: str = "Airbus") -> PredictionRow:
    path = (constructor,) if constructor else ()
    number = float(probability) if probability else None
    return PredictionRow("", path, number, path, None, constructor_probability=number)


def test_photos_in_which_a_network_recognizes_nothing_come_first() -> None:
    frame = frame_of(100)
    predicted = {file: prediction(f"{0.9 + number / 1000:.3f}") for number, file in enumerate(frame["file"])}
    predicted["images/site-7.jpg"] = prediction("0.41", "")
    predicted["images/site-3.jpg"] = prediction("0.52", "")
    predicted["images/site-5.jpg"] = prediction("", "")  # failed
    assert unfamiliar_photos(frame, predicted) == ["site-7", "site-3"]


def test_a_network_that_is_never_confident_does_not_make_every_photo_an_outlier() -> None:
    frame = frame_of(200)
    predicted = {file: prediction(f"{0.5 + number / 10_000:.4f}", "") for number, file in enumerate(frame["file"])}
    assert unfamiliar_photos(frame, predicted) == []
    predicted["images/site-199.jpg"] = prediction("0.99")
    assert len(unfamiliar_photos(frame, predicted)) == 10


def test_constructors_unknown_to_the_network_are_not_outliers() -> None:
    frame = pd.concat([frame_of(60), frame_of(60, "Embraer", "other")])
    predicted = {file: prediction("0.98") for file in frame["file"]}
    predicted |= {file: prediction("0.3", "") for file in frame["file"] if "other" in file}
    assert unfamiliar_photos(frame, predicted) == []


def test_a_photo_much_flatter_than_those_of_its_source_is_an_outlier() -> None:
    frame = pd.concat([frame_of(80), frame_of(80, source="night"), frame_of(10, source="few")])
    contrasts = np.random.default_rng(1).uniform(35, 55, len(frame))
    scans = {file: ImageScan(contrast=float(value)) for file, value in zip(frame["file"], contrasts, strict=True)}
    scans |= {f"images/night-{number}.jpg": ImageScan(contrast=5 + number / 100) for number in range(80)}
    scans["images/site-4.jpg"] = ImageScan(contrast=6)
    scans["images/site-9.jpg"] = ImageScan(contrast=250)
    scans["images/few-1.jpg"] = ImageScan(contrast=1)
    scans["images/site-2.jpg"] = ImageScan(broken="it is damaged")
    assert contrast_outliers(frame, scans) == ["site-4", "site-9"]
    assert contrast_outliers(frame.iloc[:0], scans) == []


def test_the_report_lists_outliers_with_a_picture_and_a_filter(tmp_path: Path) -> None:
    out = tmp_path / "photos"
    photos = [
        catalog.NewPhoto({"photo_id": f"p{number}", "source": "site", "constructor": "Boeing"}, jpeg(scene(number)))
        for number in range(60)
    ]
    flat = scene(99).point(lambda value: 100 + value // 20)
    row = {"photo_id": "flat", "source": "site", "constructor": "Boeing"}
    catalog.append_all(out, [*photos, catalog.NewPhoto(row, jpeg(flat))])
    page.write(out, tmp_path / "report.html", per_class=1)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ">flat</textarea>" in text
    assert '<option value="contrast">Outliers: much flatter or harsher' in text
    assert 'alt="Boeing, photo flat"' in text
