"""Outliers: photos that differ from the others, by a network's predictions or by their contrast."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from planespotter_scraping.catalog.predictions import PredictionRow
from planespotter_scraping.images.similarity import ImageScan

MIN_PHOTOS = 50  # of a group; fewer have no typical values
MAX_PROBABILITY = 0.6  # of the constructor: a photo with more is familiar to the network
UNFAMILIAR_SHARE = 0.05  # of a constructor's photos, at most
MAX_DEVIATION = 3.5  # robust standard deviations of the logarithm of the contrast


def unfamiliar_photos(frame: pd.DataFrame, predicted: Mapping[str, PredictionRow]) -> list[str]:
    """Return the ids of photos in which a network recognizes no constructor, the least familiar first.

    Compared with the other photos of their constructor, and only for constructors that the network predicts: it
    recognizes none of the others.

    Args:
        frame: Catalog, as `catalog.read` returns it.
        predicted: Predictions by file.
    """
    photos = frame[["photo_id", "file", "constructor"]].copy()
    rows = [predicted.get(file) for file in photos["file"]]
    photos["probability"] = pd.Series([row and row.constructor_probability for row in rows], photos.index, dtype=float)
    known = {row.confident[0] for row in predicted.values() if row.confident}
    photos = photos[photos["probability"].notna() & photos["constructor"].isin(known)]
    by_constructor = photos.groupby("constructor")["probability"]
    limit = np.minimum(MAX_PROBABILITY, by_constructor.transform("quantile", UNFAMILIAR_SHARE))
    enough = by_constructor.transform("size") >= MIN_PHOTOS
    outliers = photos[enough & (photos["probability"] <= limit)]
    return list(outliers.sort_values(["probability", "photo_id"])["photo_id"].astype(str))


def contrast_outliers(frame: pd.DataFrame, scans: Mapping[str, ImageScan]) -> list[str]:
    """Return the ids of photos with an unusual contrast among those of their source, the most unusual first.

    Args:
        frame: Catalog, as `catalog.read` returns it.
        scans: Scans by file.
    """
    contrast = frame["file"].map(lambda file: scans[file].contrast if file in scans else 0.0)
    photos = frame[["photo_id", "source"]].assign(contrast=np.log(contrast.where(contrast > 0)))
    photos = photos[photos["contrast"].notna()]
    by_source = photos.groupby("source")["contrast"]
    distance = (photos["contrast"] - by_source.transform("median")).abs()
    # The median absolute deviation times 1.4826 estimates the standard deviation, and ignores the outliers themselves.
    deviation = 1.4826 * distance.groupby(photos["source"]).transform("median")
    unusual = distance > MAX_DEVIATION * deviation
    outliers = photos.assign(rank=-distance / deviation)[
        unusual & (deviation > 0) & (by_source.transform("size") >= MIN_PHOTOS)
    ]
    return list(outliers.sort_values(["rank", "photo_id"])["photo_id"].astype(str))
