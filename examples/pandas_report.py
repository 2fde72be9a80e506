"""Classify a folder and count in a table what is in it. Needs pandas.

python pandas_report.py photos/ [HOST:PORT]
"""

import sys
from pathlib import Path

import pandas as pd

from planespotter_client import DEFAULT_ADDRESS, PlaneSpotter


def answers(folder: Path, address: str) -> pd.DataFrame:
    """Return a row for each photo in `folder` that could be classified."""
    with PlaneSpotter(address) as spotter:
        said = ((one.photo_id, one.classification) for one in spotter.stream(folder.glob("*.jpg")))
        rows = [
            {"photo": photo, "level": answer.level, "constructor": answer.constructor.name, "sure of": answer.name}
            for photo, answer in said
            if answer is not None
        ]
    return pd.DataFrame(rows, columns=["photo", "level", "constructor", "sure of"])


def main(folder: str, address: str = DEFAULT_ADDRESS) -> None:
    """Print how far down the answers are sure, by constructor, and the aircraft that are named most."""
    table = answers(Path(folder), address)
    print(pd.crosstab(table["constructor"], table["level"], margins=True))
    print(table["sure of"].value_counts().head(10).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
