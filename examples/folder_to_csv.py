"""Classify all photos below a folder over one stream, and write a CSV file.

python folder_to_csv.py photos/ answers.csv [HOST:PORT]
"""

import csv
import sys
from pathlib import Path

from planespotter_client import DEFAULT_ADDRESS, PlaneSpotter


def main(folder: str, table: str, address: str = DEFAULT_ADDRESS) -> None:
    """Write a row for each photo below `folder`; memory stays bounded, however many there are."""
    photos = (path for path in Path(folder).rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    with PlaneSpotter(address) as spotter, Path(table).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["photo", "level", "answer", "probability", "error"])
        for answer in spotter.stream(photos):
            said = answer.classification
            if said is None:  # this photo failed; the others are not disturbed
                rows.writerow([answer.photo_id, "", "", "", answer.error])
            else:
                rows.writerow([answer.photo_id, said.level, said.name, f"{said.probability:.4f}", ""])


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        print("usage: python folder_to_csv.py photos/ answers.csv [HOST:PORT]", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
