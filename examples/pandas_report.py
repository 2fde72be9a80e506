"""Classify a folder and count in tables what is in it. Needs pandas.

python pandas_report.py photos/ [HOST:PORT]
"""

import sys
from pathlib import Path

import pandas as pd

from planespotter_client import DEFAULT_ADDRESS, PlaneSpotter, frame


def main(folder: str, address: str = DEFAULT_ADDRESS) -> None:
    """Print how far down the answers are sure, by constructor, and the aircraft that are named most."""
    with PlaneSpotter(address) as spotter:
        answers = frame(spotter.stream(Path(folder).glob("*.jpg")))
    good = answers[answers["error"].isna()]
    print(pd.crosstab(good["constructor"], good["level"], margins=True), end="\n\n")
    print(good["name"].value_counts().head(10).to_string(), end="\n\n")
    print(f"{len(answers) - len(good)} of {len(answers)} photos failed.")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        print("usage: python pandas_report.py photos/ [HOST:PORT]", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
