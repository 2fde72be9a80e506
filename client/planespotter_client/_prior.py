"""Prior: what is known about the aircraft besides the photo: a fleet, the traffic of an airport, or a short list."""

import csv
import difflib
import hashlib
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client._errors import InvalidRequestError

TYPE_COLUMNS = ("model", "aircraft_type", "type")
MAX_SHOWN = 10


@dataclass(frozen=True)
class Prior:
    """Types that are more probable than values before the photo is seen, with their weights.

        prior = Prior.from_candidates(["A320", "A321", "737-800"])
        prior = Prior.from_fleet("fleet.csv", airline="Lufthansa")
        prediction = spotter.classify("photo.jpg", prior=prior)
        prediction.evidence      # "network+fleet"
        prediction.network_path  # what the network alone predicts

    A prior excludes nothing: a photo that clearly shows another type is predicted as such.
    """

    name: str
    """What the evidence is called in `Prediction.evidence`: 1 to 32 lower-case letters, digits and dashes."""
    weights: Mapping[tuple[str, ...], float]
    """Relative weight by path: ("Boeing", "737", "737-800"), or ("Boeing", "737") for each type of the family."""
    odds: float | None = None
    """How many times as probable the most common type is as one that is not listed, 1 to 1,000; None is the server's
    default of 2."""
    unresolved: tuple[str, ...] = ()
    """Texts of the source that are not an aircraft type; they have no weight."""

    @classmethod
    def from_candidates(cls, types: Iterable[str], *, odds: float | None = None) -> "Prior":
        """Make a prior of a short list of types, all equally probable.

        Args:
            types: Types as people write them: "A320", "737-800", "B738", "Boeing 777".
            odds: How many times as probable a listed type is as another, 1 to 1,000; the server's default of 2 if None.

        Raises:
            InvalidRequestError: A text is not an aircraft type, or there is none.
        """
        texts = [text.strip() for text in types if text.strip()]
        paths = {text: _path(text) for text in texts}
        unknown = [text for text, path in paths.items() if len(path) < 2]
        if unknown or not paths:
            what = f"{list_names(unknown)}: no aircraft type is called that" if unknown else "the list is empty"
            raise _invalid(f"The candidates are invalid: {what}. Write types such as A320, 737-800 or B738.")
        return cls("candidates", dict.fromkeys(paths.values(), 1.0), odds)

    @classmethod
    def from_fleet(
        cls,
        table: str | os.PathLike[str],
        *,
        airline: str | None = None,
        airport: str | None = None,
        odds: float | None = None,
    ) -> "Prior":
        """Read a prior from a CSV file: the fleet of an airline, or the traffic of an airport.

        Args:
            table: A file with the column model (or aircraft_type, as in a catalog), and optionally airline, airport and
                share. A share is any number of 0 or more, such as a number of aircraft; without the column each row
                counts as 1, so a catalog is a fleet, too.
            airline: Use the rows of this airline only; upper and lower case do not matter.
            airport: Use the rows of this airport only.
            odds: How many times as probable the most common type is as one that is not listed, 1 to 1,000; the server's
                default of 2 if None.

        Raises:
            InvalidRequestError: The file is not such a table, or has no row for the airline or the airport.
        """
        path = Path(table)
        weights: defaultdict[tuple[str, ...], float] = defaultdict(float)
        unresolved: Counter[str] = Counter()
        for text, share, _ in _rows(path, {"airline": airline, "airport": airport}):
            label = _path(text)
            if label:
                weights[label] += share
            else:
                unresolved[text] += 1
        if not any(weights.values()):
            raise _invalid(f"{path} has no row with an aircraft type and a share above 0. Fill in its column model.")
        return cls("fleet", dict(weights), odds, tuple(text for text, _ in unresolved.most_common()))

    @classmethod
    def from_fleets(cls, table: str | os.PathLike[str], *, odds: float | None = None) -> "dict[str, Prior]":
        """Read a prior for each airline of a CSV file, by the name of the airline in lower case; see `from_fleet`."""
        path = Path(table)
        fleets: defaultdict[str, defaultdict[tuple[str, ...], float]] = defaultdict(lambda: defaultdict(float))
        for text, share, airline in _rows(path, {"airline": None}, required="airline"):
            if airline and (label := _path(text)):
                fleets[airline.casefold()][label] += share
        return {name: cls("fleet", dict(weights), odds) for name, weights in fleets.items() if any(weights.values())}

    @property
    def fingerprint(self) -> str:
        """Name of the evidence and a hash of its weights, by which two runs compare their priors."""
        values = json.dumps([sorted(self.weights.items()), self.odds]).encode()
        return f"{self.name} {hashlib.sha256(values).hexdigest()[:8]}"

    def to_message(self) -> pb.Prior:
        """Return the prior as a message of the contract."""
        return pb.Prior(
            name=self.name,
            weights=[pb.PriorWeight(path=path, weight=weight) for path, weight in self.weights.items()],
            odds=self.odds,
        )


class Evidence(TypedDict, total=False):
    """Further parameters of a request, by keyword."""

    prior: Prior | None
    """What is known about the aircraft besides the photo."""
    leaf_probabilities: bool
    """Whether to return the probability of every leaf by the network alone."""


def check_evidence(evidence: Mapping[str, Any]) -> None:
    """Raise TypeError for a keyword that is not one of Evidence, and for a prior of another type."""
    for name, value in evidence.items():
        if name not in Evidence.__annotations__:
            raise TypeError(f"{name} is an unexpected keyword argument. Did you mean prior or leaf_probabilities?")
        if name == "prior" and not (value is None or isinstance(value, Prior)):
            raise TypeError(
                f"prior is invalid: {value!r}. Give a Prior, such as Prior.from_candidates(['A320', 'A321'])."
            )


def _path(text: str) -> tuple[str, ...]:
    """Return the names of an aircraft type, constructor first, as deep as `text` tells; () if it is not one."""
    from planespotter_scraping.labels.parser import infer_constructor, label_path

    label = label_path(infer_constructor(text), text)
    names = (label.constructor, label.family, label.model)
    return tuple(name for name in names if name)


def _rows(
    path: Path, chosen: Mapping[str, str | None], required: str | None = None
) -> Iterator[tuple[str, float, str]]:
    """Yield type, share and airline of the rows of a fleet whose columns have the `chosen` values; None chooses all.

    A `required` column must be there.
    """
    values: dict[str, Counter[str]] = {column: Counter() for column in chosen}
    any_row = False
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            header = rows.fieldnames or []
            column = next((name for name in TYPE_COLUMNS if name in header), None)
            needed = {*(name for name, value in chosen.items() if value is not None), *filter(None, [required])}
            missing = [name for name in chosen if name in needed and name not in header]
            if column is None or missing:
                raise _invalid(
                    f"{path} has no column {' and no column '.join(missing or ['model'])}. Its header must name model "
                    "(or aircraft_type), and may name airline, airport and share."
                )
            for row in rows:
                cells = {name: (row.get(name) or "").strip() for name in (*chosen, column, "share")}
                for name in chosen:
                    values[name][cells[name]] += 1
                if all(value is None or value.casefold() == cells[name].casefold() for name, value in chosen.items()):
                    any_row = True
                    if cells[column]:
                        yield cells[column], _share(path, rows.line_num, cells["share"]), cells["airline"]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _invalid(f"{path} cannot be read as a CSV file in UTF-8: {why}.") from error
    if not any_row:
        raise _invalid(_no_row(path, chosen, values))


def _share(path: Path, line: int, text: str) -> float:
    try:
        share = float(text or 1)
    except ValueError:
        share = math.nan
    if not (math.isfinite(share) and share >= 0):
        raise _invalid(f"Line {line:,} of {path} has the share {text!r}. Write a number of 0 or more.")
    return share


def _no_row(path: Path, chosen: Mapping[str, str | None], values: Mapping[str, Counter[str]]) -> str:
    """Return why no row was chosen, with the names that look most like the chosen one."""
    for column, value in chosen.items():
        by_key = {name.casefold(): name for name in values[column]}
        if value is not None and value.casefold() not in by_key:
            similar = [by_key[key] for key in difflib.get_close_matches(value.casefold(), by_key, n=3)]
            advice = (
                f"Did you mean {' or '.join(similar)}?" if similar else f"It has {list_names(sorted(values[column]))}."
            )
            return f"{path} has no row of the {column} {value!r}. {advice}"
    wanted = " and ".join(f"the {column} {value!r}" for column, value in chosen.items() if value is not None)
    return f"{path} has no row of {wanted} together." if wanted else f"{path} has no rows. Add one for each type."


def list_names(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - MAX_SHOWN:,} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason="PRIOR_INVALID")
