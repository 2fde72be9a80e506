"""Classify a folder and summarize it in tables. Needs pandas.

python pandas_report.py photos/ [HOST:PORT]
"""

import sys
from pathlib import Path

import pandas as pd

from planespotter_client import DEFAULT_ADDRESS, PlaneSpotter, to_dataframe


def main(folder: str, address: str = DEFAULT_ADDRESS) -> None:
    """Print the confidence levels by constructor, and the most frequent aircraft."""
    with PlaneSpotter(address) as spotter:
        results = to_dataframe(spotter.stream(Path(folder).glob("*.jpg")))
    classified = results[results["error"].isna()]
    print(pd.crosstab(classified["constructor"], classified["level"], margins=True), end="\n\n")
    print(classified["name"].value_counts().head(10).to_string(), end="\n\n")
    print(f"{len(results) - len(classified)} of {len(results)} photos failed.")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        print("usage: python pandas_report.py photos/ [HOST:PORT]", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
