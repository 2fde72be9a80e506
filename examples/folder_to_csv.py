"""Classify all photos in a folder and its subfolders over one stream, and write a CSV file.

python folder_to_csv.py photos/ predictions.csv [HOST:PORT]
"""

import csv
import sys
from pathlib import Path

from planespotter_client import DEFAULT_ADDRESS, PlaneSpotter


def main(folder: str, table: str, address: str = DEFAULT_ADDRESS) -> None:
    """Write a row per photo; memory stays bounded for any number of photos."""
    photos = (path for path in Path(folder).rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    with PlaneSpotter(address) as spotter, Path(table).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["photo", "level", "prediction", "probability", "error"])
        for result in spotter.stream(photos):
            prediction = result.prediction
            if prediction is None:  # an error of one photo does not affect the others
                rows.writerow([result.photo_id, "", "", "", result.error])
            else:
                probability = f"{prediction.probability:.4f}"
                rows.writerow([result.photo_id, prediction.level, prediction.name, probability, ""])


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        print("usage: python folder_to_csv.py photos/ predictions.csv [HOST:PORT]", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
