"""The networks that are installed with planespotter: NAME/VERSION/bundle.json, each with a model card beside it."""

from pathlib import Path

FOLDER = Path(__file__).parent
"""The folder that `planespotter serve` serves unless it is told otherwise."""
