"""Print the corrections of a review as CSV: the photo, what was proposed, the new label, who gave it and when.

python review_corrections.py CATALOG

The decision log of a review, review.jsonl in its catalog, has a line for each decision. Later lines about a photo
replace earlier ones, and an undo removes the decision.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any


def main(catalog: str) -> None:
    """Read the log of a catalog, and write the rows to standard output."""
    decisions: dict[str, dict[str, Any]] = {}
    for line in (Path(catalog) / "review.jsonl").read_text(encoding="utf-8").splitlines():
        decision = json.loads(line)
        decisions.pop(decision["photo"], None)
        if decision["decision"] != "undo":
            decisions[decision["photo"]] = decision
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["photo", "proposed", "constructor", "aircraft_type", "by", "at"])
    for photo, decision in decisions.items():
        if decision["decision"] == "correct":
            label = decision.get("constructor", ""), decision.get("aircraft_type", "")
            table.writerow([photo, " ".join(decision.get("shown", [])), *label, decision["by"], decision["at"]])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: python review_corrections.py CATALOG", file=sys.stderr)
        sys.exit(2)
    main(sys.argv[1])
