"""Drift detection: notice during a crawl that a site's markup changed, before incomplete rows are stored.

Each page is checked before its photos are stored. The fill rate of a field, the share of cards or photos that have it,
is compared with three references:

- the site's profile (`Site.expected_fill_rates`); a label that only a photo's URL gives counts as present;
- earlier pages, of this run and of previous ones (the history file in the catalog's folder); only what the cards
  themselves show counts, so that drift is noticed even where the URL still gives the label;
- the URLs of the same photos: a field that is in a photo's URL but not on its card was not parsed.

**Statistical test.** A field has drifted if its fill rate is below half of its reference, and a rate this low has a
probability (binomial test) below SIGNIFICANCE. The test runs on the last page, and on as many of the latest pages as
hold 48, 96 and 144 cards. Gaps come in runs, such as the photos of one freighter or of one museum visit. So the trials
of the test are not cards but runs of RUN_LENGTH cards, assumed independent; SHORT_RUN_LENGTH for fields that nearly all
cards have, and for the comparison with URLs; CERTAIN_RUN_LENGTH for fields that the profile expects on every card, so
that a first page of eight cards is enough to notice a missing one. With eight fields, three references and four
windows, the false-alarm probability is below 1 in 10,000 per page if gaps behave like this; a simulation of 200,000
pages had one false alarm. One or two pages of freighters without an airline, where 4 of 5 cards have one, raise no
alarm; a third one does.
Undetected: a loss of less than half of the cards, and a field that is neither in the profile nor on earlier pages.
"""

import json
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from planespotter_scraping.atomic_write import atomic_write_text
from planespotter_scraping.crawling.result import CrawlAbortedError
from planespotter_scraping.sites import ONLY_IN_URL, Listing, Site
from planespotter_scraping.sites.probes import Probe

WINDOWS = (0, 48, 96, 144)  # cards; 0 is the last page, regardless of its size
SIGNIFICANCE = 1e-6
RUN_LENGTH, SHORT_RUN_LENGTH = 12, 4  # cards
CERTAIN_RUN_LENGTH = 2  # cards, for fields that every card has according to the profile
NEARLY_ALL = 0.95  # expected share from which on the short run length applies
MAX_SHARE = 0.99  # larger expected shares are treated as this one
URL_AGREEMENT = 0.9  # expected share of cards that show a field, among those whose URL has it
MIN_HISTORY_CARDS = 24  # fewer do not serve as a reference
MAX_HISTORY_CARDS = 480  # beyond these, older cards fade
UNCHECKED_FIELDS = ("review",)  # written by the parser itself
HISTORY_FILE = ".fill_rates.json"

Reference = Literal["profile", "history", "url"]


class DriftError(CrawlAbortedError):
    """Markup drift: a site's pages are no longer what their parser expects. The text is for users.

    Attributes:
        report: Lines of the drift report.
    """

    def __init__(self, text: str, report: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.report = list(report)


@dataclass
class FieldCounts:
    """Counts over some pages.

    Attributes:
        cards: Number of cards.
        photos: Number of photos parsed from them.
        known: Photos with a value, by field.
        on_card: Cards that show a value themselves, by field.
        only_in_url: Cards without a value whose URL has one, by field.
        probe_matches: Matches, by the name of the probe.
    """

    cards: int = 0
    photos: int = 0
    known: Counter[str] = field(default_factory=Counter)
    on_card: Counter[str] = field(default_factory=Counter)
    only_in_url: Counter[str] = field(default_factory=Counter)
    probe_matches: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "FieldCounts") -> "FieldCounts":
        """Return the counts over the pages of both."""
        names = ("known", "on_card", "only_in_url", "probe_matches")
        sums = {name: Counter(getattr(self, name)) for name in names}
        for name, counts in sums.items():
            counts.update(getattr(other, name))
        return FieldCounts(self.cards + other.cards, self.photos + other.photos, **sums)


@dataclass(frozen=True)
class FieldDrift:
    """A field whose fill rate dropped.

    Attributes:
        field: Name of the field.
        expected_share: Share of cards that had it, or should have it, from 0 to 1.
        present: Cards that have it now.
        cards: Cards that were checked, on this page and `earlier_pages` before it.
        reference: What the expected share comes from.
        earlier_pages: Number of earlier pages in the window.
    """

    field: str
    expected_share: float
    present: int
    cards: int
    reference: Reference
    earlier_pages: int = 0


def count_fields(listing: Listing) -> FieldCounts:
    """Return the counts of one page."""
    cards = listing.cards or len(listing.photos)
    names = {name for photo in listing.photos for name in photo} | set(listing.missing)
    counts = FieldCounts(cards, len(listing.photos), probe_matches=Counter(listing.probe_matches))
    for name in names - set(UNCHECKED_FIELDS):
        counts.known[name] = sum(photo.get(name, "") != "" for photo in listing.photos)
        reasons = listing.missing.get(name)
        counts.on_card[name] = counts.known[name] if reasons is None else max(0, cards - sum(reasons.values()))
        counts.only_in_url[name] = reasons[ONLY_IN_URL] if reasons else 0
    if "photo_id" in listing.missing:  # a card without an id gives no photo
        counts.known["photo_id"] = counts.on_card["photo_id"]
    return counts


def p_value(present: int, cards: int, share: float, run_length: int) -> float:
    """Return the probability that at most `present` of `cards` cards have a field (lower tail of the binomial).

    Args:
        present: Number of cards with the field.
        cards: Number of cards.
        share: Expected share of cards with the field, from 0 to 1.
        run_length: Cards per independent trial. Fewer cards prove nothing: the result is 1.
    """
    trials = cards // run_length
    if trials == 0:
        return 1.0
    share, successes = min(share, MAX_SHARE), math.ceil(present * trials / cards)
    return sum(math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(successes + 1))


def has_drifted(
    present: int, cards: int, share: float, run_length: int | None = None, significance: float = SIGNIFICANCE
) -> bool:
    """Return whether a field has drifted: fewer than half as many cards have it as expected, and not by chance.

    Args:
        present: Number of cards with the field, from 0 to `cards`.
        cards: Number of cards, at least 0.
        share: Expected share of cards with the field, from 0 to 1.
        run_length: Cards per independent trial of the test, at least 1. Default: SHORT_RUN_LENGTH if nearly all cards
            are expected to have the field, otherwise RUN_LENGTH.
        significance: False-alarm probability of this comparison, from 0 to 1.
    """
    if run_length is None:
        run_length = SHORT_RUN_LENGTH if share >= NEARLY_ALL else RUN_LENGTH
    return present < cards * share / 2 and p_value(present, cards, share, run_length) < significance


class DriftDetector:
    """Check the pages of one site in the order of the crawl.

    Args:
        site: The site.
        history: Counts of previous runs, by markup generation.
        significance: False-alarm probability of one comparison.
    """

    def __init__(
        self, site: Site, history: Mapping[str, FieldCounts] | None = None, significance: float = SIGNIFICANCE
    ) -> None:
        self.site, self.significance = site, significance
        self._history = dict(history or {})
        self._recent: deque[tuple[str, FieldCounts]] = deque()  # by markup; covers the largest window

    def check(self, listing: Listing) -> list[FieldDrift]:
        """Check one page, and remember it unless a field has drifted.

        Returns:
            The fields that have drifted, those of the site's profile first. If there are any, the page's photos
            should not be stored.
        """
        markup, page = listing.markup, count_fields(listing)
        names = [*self.site.expected_fill_rates, *sorted(set(page.on_card) - set(self.site.expected_fill_rates))]
        names += sorted(set(self.reference(markup).on_card) - set(names))
        drifts = [drift for name in names if (drift := self._drift(name, markup, page))]
        if not drifts:
            self._recent.append((markup, page))
            while sum(counts.cards for _, counts in self._recent) - self._recent[0][1].cards >= WINDOWS[-1]:
                old_markup, counts = self._recent.popleft()
                self._history[old_markup] = _fade(self._history.get(old_markup, FieldCounts()) + counts)
        return drifts

    def reference(self, markup: str, skip: int = 0) -> FieldCounts:
        """Return the counts of earlier pages of a markup generation, previous runs included.

        Args:
            markup: The generation.
            skip: Number of the latest pages to exclude.
        """
        pages = list(self._recent)[: len(self._recent) - skip]
        return sum((counts for kind, counts in pages if kind == markup), self._history.get(markup, FieldCounts()))

    def history(self) -> dict[str, FieldCounts]:
        """Return the counts to save for the next run, by markup generation."""
        markups = set(self._history) | {markup for markup, _ in self._recent}
        return {markup: _fade(self.reference(markup)) for markup in markups}

    def _drift(self, name: str, markup: str, page: FieldCounts) -> FieldDrift | None:
        """Return the drift of one field, None if it has not drifted."""
        for skip, of_site, of_markup in self._windows(markup, page):
            expected = self.site.expected_fill_rates.get(name, 0.0)
            known = of_site.known[name]
            cards = of_site.cards if name == "photo_id" else of_site.photos
            certain = CERTAIN_RUN_LENGTH if expected == 1 else None
            if has_drifted(known, cards, expected, certain, self.significance):
                return FieldDrift(name, expected, known, cards, "profile", skip)
            in_url = known + of_site.only_in_url[name]
            if of_site.only_in_url[name] and has_drifted(
                known, in_url, URL_AGREEMENT, SHORT_RUN_LENGTH, self.significance
            ):
                return FieldDrift(name, 1.0, known, in_url, "url", skip)
            reference = self.reference(markup, skip)
            if reference.cards >= MIN_HISTORY_CARDS:
                share = reference.on_card[name] / reference.cards
                # A field that all earlier cards had may still have gaps, such as those that the profile allows for.
                run_length = SHORT_RUN_LENGTH if expected >= NEARLY_ALL else RUN_LENGTH
                runs = reference.cards // run_length
                smoothed = (share * runs + 1) / (runs + 2)  # rule of succession
                expected_share = min(share, smoothed, expected or 1.0)
                present, cards = of_markup.on_card[name], of_markup.cards
                if has_drifted(present, cards, expected_share, run_length, self.significance):
                    return FieldDrift(name, share, present, cards, "history", skip)
        return None

    def _windows(self, markup: str, page: FieldCounts) -> Iterable[tuple[int, FieldCounts, FieldCounts]]:
        """Yield for each window its number of earlier pages, its counts, and its counts of this markup alone."""
        earlier = list(self._recent)[::-1]
        skip, of_site, of_markup = 0, page, page
        for size in WINDOWS:
            while of_site.cards < size and skip < len(earlier):
                kind, counts = earlier[skip]
                of_site, skip = of_site + counts, skip + 1
                of_markup = of_markup + counts if kind == markup else of_markup
            yield skip, of_site, of_markup


def suspect_probes(site: Site, listing: Listing, reference: FieldCounts, name: str = "") -> list[Probe]:
    """Return the probes for a field that match less than they did, the largest loss first.

    Args:
        site: The site.
        listing: The page that drifted.
        reference: Counts of earlier pages.
        name: The field; "" for the probes that find the cards.

    Returns:
        The probes; all probes for the field if none of them matches less.
    """
    probes = [probe for probe in site.probes if (name in probe.fields if name else not probe.fields)]

    def loss(probe: Probe) -> float:
        earlier = reference.probe_matches[probe.name] / max(1, reference.cards)
        # On a page without cards, a probe inside cards cannot match.
        return earlier - listing.probe_matches.get(probe.name, 0) / max(1, listing.cards)

    suspects = sorted((probe for probe in probes if loss(probe) > 0.02), key=loss, reverse=True)
    return suspects or probes


def load_history(folder: Path, site: str) -> dict[str, FieldCounts]:
    """Load a site's counts by markup generation from a catalog's folder; empty if they are missing or damaged."""
    try:
        counts_by_markup = json.loads((folder / HISTORY_FILE).read_text(encoding="utf-8"))[site]
        return {markup: _parse_counts(counts) for markup, counts in counts_by_markup.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # the first pages rebuild it


def save_history(folder: Path, site: str, history: Mapping[str, FieldCounts]) -> None:
    """Save a site's counts to a catalog's folder, as an atomic write."""
    path = folder / HISTORY_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = {}
    content = content if isinstance(content, dict) else {}
    content[site] = {
        markup: {
            "cards": counts.cards,
            "on_card": dict(counts.on_card),
            "probe_matches": dict(counts.probe_matches),
        }
        for markup, counts in history.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _parse_counts(counts: Mapping[str, object]) -> FieldCounts:
    """Parse the counts of a history file. Raises TypeError, or another error that `load_history` handles."""
    cards, on_card, matches = counts["cards"], counts["on_card"], counts["probe_matches"]
    if not (isinstance(cards, int) and isinstance(on_card, dict) and isinstance(matches, dict)):
        raise TypeError("not a history file")
    if cards < 0 or not all(isinstance(count, int) for count in (*on_card.values(), *matches.values())):
        raise TypeError("not a history file")
    return FieldCounts(cards, on_card=Counter(on_card), probe_matches=Counter(matches))


def _fade(counts: FieldCounts) -> FieldCounts:
    """Scale counts down to MAX_HISTORY_CARDS cards, if there are more."""
    if counts.cards <= MAX_HISTORY_CARDS:
        return counts
    scale = MAX_HISTORY_CARDS / counts.cards
    on_card, matches = (
        Counter({name: round(count * scale) for name, count in some.items()})
        for some in (counts.on_card, counts.probe_matches)
    )
    return FieldCounts(MAX_HISTORY_CARDS, on_card=on_card, probe_matches=matches)
