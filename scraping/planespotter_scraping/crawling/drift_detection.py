"""Notice while a crawl runs that a site was redesigned: a field that used to be there, or the cards, are gone.

A page is looked at before its photos are stored. Three things are compared with what the page says of a field:

- what the site's profile expects (`Site.expected`): of that, what the address of a photo makes good counts as said;
- what earlier pages said, of this run and of earlier ones, which the catalog's folder remembers: here only what the
  cards say themselves counts, so that labels are missed even where the address still gives them;
- what the addresses of the same photos say: a card that is silent where its address is not was not understood.

**When a field has collapsed.** Over the last page, and over as many pages as hold 48, 96 and 144 cards: if the share
of cards that say it is under half of what it should be, and so small a share has a probability below one in a million.
Gaps come in series, such as the photos of one freighter, or of one visit to a museum. So cards do not count singly, but
in series of SERIES, each of which says the field or not, independently of the others; for what nearly every card
says, and for addresses that disagree, in SHORT_SERIES. With eight fields, three comparisons and four
windows, the probability of a false alarm is below 1 in 10,000 a page if gaps are so; in simulations of 200,000 pages
whose gaps come in such series, there was one. A whole page of freighters without an airline, where 4 of 5 cards have
one, is no alarm, and neither are two such pages; a third one is. What loses less than half of its cards is not
noticed, and a field that the profile does not expect has to be there on a page or so first.
"""

import json
import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planespotter_scraping.atomic_write import atomic_write_text
from planespotter_scraping.crawling.result import CrawlAbortedError
from planespotter_scraping.sites import ONLY_IN_URL, Listing, Site
from planespotter_scraping.sites.probes import Probe

WINDOWS = (0, 48, 96, 144)  # cards; 0 is the last page alone, however many it has
MISTAKE = 1e-6
SERIES, SHORT_SERIES = 12, 4
NEARLY_ALL, AT_MOST = 0.95, 0.99  # no share is taken for higher than the second
CONFIRMED = 0.9  # of the cards whose address says a field, so many say it themselves
ENOUGH, REMEMBERED = 24, 480  # cards: to know what is usual, and before older ones fade
NOT_WATCHED = ("review",)  # it is the reader's own remark
FILE = ".fullness.json"
ADDRESSES = "the addresses of the same photos say"


class DriftError(CrawlAbortedError):
    """A site whose pages are no longer what its reader expects. The text says what is gone, and where to look.

    `report` is what the evidence says in text, line by line.
    """

    def __init__(self, text: str, report: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.report = list(report)


@dataclass
class Tally:
    """Counts over some pages: cards, photos that were read, and by field or probe how often it was there.

    `filled` counts photos of which the field is known, `said` cards that say it themselves, `lost` cards that do not
    although their address does.
    """

    cards: int = 0
    photos: int = 0
    filled: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    matched: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Tally") -> "Tally":
        """Return the counts over the pages of both."""
        sums = {name: Counter(getattr(self, name)) for name in ("filled", "said", "lost", "matched")}
        for name, counts in sums.items():
            counts.update(getattr(other, name))
        return Tally(self.cards + other.cards, self.photos + other.photos, **sums)


@dataclass(frozen=True)
class Collapse:
    """A field that used to be there: its share before, on `there` of `cards` cards now, and how that is known.

    Those cards are on this page and the `earlier` ones before it.
    """

    field: str
    before: float
    there: int
    cards: int
    known_from: str
    earlier: int = 0


def tally(listing: Listing) -> Tally:
    """Return the counts of one page."""
    cards = listing.cards or len(listing.photos)
    names = {name for photo in listing.photos for name in photo} | set(listing.missing)
    counted = Tally(cards, len(listing.photos), matched=Counter(listing.matched))
    for name in names - set(NOT_WATCHED):
        counted.filled[name] = sum(photo.get(name, "") != "" for photo in listing.photos)
        reasons = listing.missing.get(name)
        counted.said[name] = counted.filled[name] if reasons is None else max(0, cards - sum(reasons.values()))
        counted.lost[name] = reasons[ONLY_IN_URL] if reasons else 0
    if "photo_id" in listing.missing:  # a card without one is no photo at all
        counted.filled["photo_id"] = counted.said["photo_id"]
    return counted


def chance(there: int, cards: int, share: float, series: int) -> float:
    """Return the probability that at most `there` of `cards` cards say what a share of all cards says.

    The cards are independent in series of `series`; fewer cards than that prove nothing.
    """
    count = cards // series
    if count == 0:
        return 1.0
    share, most = min(share, AT_MOST), math.ceil(there * count / cards)
    return sum(math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(most + 1))


def collapsed(there: int, cards: int, share: float, series: int | None = None, mistake: float = MISTAKE) -> bool:
    """Return whether `there` of `cards` cards is a collapse of what was on a share of them. See the module's text."""
    if series is None:
        series = SHORT_SERIES if share >= NEARLY_ALL else SERIES
    return there < cards * share / 2 and chance(there, cards, share, series) < mistake


class DriftDetector:
    """Looks at the pages of one site in the order of the crawl.

    `memory` is what earlier runs saw, by markup. `mistake` is the probability of a false alarm that one comparison may
    have, see the module's text.
    """

    def __init__(self, site: Site, memory: Mapping[str, Tally] | None = None, mistake: float = MISTAKE) -> None:
        self.site, self.mistake = site, mistake
        self.memory = dict(memory or {})
        self.recent: deque[tuple[str, Tally]] = deque()  # by markup; at least as many cards as the longest window

    def look(self, listing: Listing) -> list[Collapse]:
        """Return the fields that have collapsed with this page, those that the profile expects first.

        A page without any is remembered. One with some is not: its photos should not be stored.
        """
        markup, page = listing.markup, tally(listing)
        names = [*self.site.expected, *sorted(set(page.said) - set(self.site.expected))]
        names += sorted(set(self.usual(markup).said) - set(names))
        found = [collapse for name in names if (collapse := self._collapse(name, markup, page))]
        if not found:
            self.recent.append((markup, page))
            while sum(one.cards for _, one in self.recent) - self.recent[0][1].cards >= WINDOWS[-1]:
                old, counts = self.recent.popleft()
                self.memory[old] = _faded(self.memory.get(old, Tally()) + counts)
        return found

    def usual(self, markup: str, skipped: int = 0) -> Tally:
        """Return the counts over the pages that passed but the last `skipped`, with the remembered ones."""
        pages = list(self.recent)[: len(self.recent) - skipped]
        return sum((counts for kind, counts in pages if kind == markup), self.memory.get(markup, Tally()))

    def remembered(self) -> dict[str, Tally]:
        """Return what a later run should know of this one and those before it, by markup."""
        markups = set(self.memory) | {markup for markup, _ in self.recent}
        return {markup: _faded(self.usual(markup)) for markup in markups}

    def _collapse(self, name: str, markup: str, page: Tally) -> Collapse | None:
        """Return the collapse of one field, None if there is none."""
        for skipped, of_site, of_markup in self._windows(markup, page):
            expected = self.site.expected.get(name, 0.0)
            there = of_site.filled[name]
            cards = of_site.cards if name == "photo_id" else of_site.photos
            if collapsed(there, cards, expected, mistake=self.mistake):
                return Collapse(name, expected, there, cards, "its profile expects", skipped)
            asked = of_site.filled[name] + of_site.lost[name]
            if of_site.lost[name] and collapsed(of_site.filled[name], asked, CONFIRMED, SHORT_SERIES, self.mistake):
                return Collapse(name, 1.0, of_site.filled[name], asked, ADDRESSES, skipped)
            usual = self.usual(markup, skipped)
            if usual.cards >= ENOUGH:
                before = usual.said[name] / usual.cards
                # What the pages so far had on all cards may still have gaps, such as those that the profile allows for.
                series = SHORT_SERIES if expected >= NEARLY_ALL else SERIES
                count = usual.cards // series  # one series more of either kind: what was always there may yet fail
                careful = (before * count + 1) / (count + 2)
                share = min(before, careful, expected or 1.0)
                if collapsed(of_markup.said[name], of_markup.cards, share, series, self.mistake):
                    there, cards = of_markup.said[name], of_markup.cards
                    return Collapse(name, before, there, cards, "earlier pages had", skipped)
        return None

    def _windows(self, markup: str, page: Tally) -> Iterable[tuple[int, Tally, Tally]]:
        """Yield for each window how many earlier pages are in it, and the counts over it: all, and of the markup."""
        earlier = list(self.recent)[::-1]
        skipped, of_site, of_markup = 0, page, page
        for size in WINDOWS:
            while of_site.cards < size and skipped < len(earlier):
                kind, counts = earlier[skipped]
                of_site, skipped = of_site + counts, skipped + 1
                of_markup = of_markup + counts if kind == markup else of_markup
            yield skipped, of_site, of_markup


def lines_to_look_at(site: Site, listing: Listing, usual: Tally, name: str = "") -> list[Probe]:
    """Return the probes for the field `name` ("": for the cards) that find less than they did, or all if none does.

    The one that lost most comes first.
    """
    probes = [probe for probe in site.probes if (name in probe.fields if name else not probe.fields)]

    def lost(probe: Probe) -> float:
        before = usual.matched[probe.name] / max(1, usual.cards)
        # A page without cards has none that could hold the others.
        return before - listing.matched.get(probe.name, 0) / max(1, listing.cards)

    fallen = sorted((probe for probe in probes if lost(probe) > 0.02), key=lost, reverse=True)
    return fallen or probes


def load(folder: Path, site: str) -> dict[str, Tally]:
    """Return what the catalog's `folder` remembers of a site, by markup; nothing if it has no such file."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))[site]
        return {markup: _tally_of(counts) for markup, counts in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # the first pages teach it again


def save(folder: Path, site: str, memory: Mapping[str, Tally]) -> None:
    """Remember in the catalog's `folder` what the pages of a site had. A kill leaves the old file or the new one."""
    path = folder / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    found = found if isinstance(found, dict) else {}
    found[site] = {
        markup: {"cards": counts.cards, "said": dict(counts.said), "matched": dict(counts.matched)}
        for markup, counts in memory.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, json.dumps(found, indent=1, sort_keys=True) + "\n")


def _tally_of(counts: Mapping[str, object]) -> Tally:
    """Return the counts of a file. Raises TypeError or another of what `load` expects if they are none."""
    cards, said, matched = counts["cards"], counts["said"], counts["matched"]
    if not (isinstance(cards, int) and isinstance(said, dict) and isinstance(matched, dict)):
        raise TypeError("not what was written")
    if cards < 0 or not all(isinstance(count, int) for count in (*said.values(), *matched.values())):
        raise TypeError("not what was written")
    return Tally(cards, said=Counter(said), matched=Counter(matched))


def _faded(counts: Tally) -> Tally:
    """Return `counts` as if fewer cards had been seen, if there are more than are worth remembering."""
    if counts.cards <= REMEMBERED:
        return counts
    scale = REMEMBERED / counts.cards
    said, matched = (
        Counter({name: round(count * scale) for name, count in some.items()}) for some in (counts.said, counts.matched)
    )
    return Tally(REMEMBERED, said=said, matched=matched)
