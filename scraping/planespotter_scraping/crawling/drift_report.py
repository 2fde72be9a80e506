"""Stop a crawl at a page that its reader no longer understands, with the evidence and the line to look at."""

import linecache
import textwrap
from collections import Counter, defaultdict
from pathlib import Path
from typing import NoReturn

from playwright.async_api import Page
from selectolax.lexbor import LexborNode

from planespotter_scraping.crawling import page_snapshot
from planespotter_scraping.crawling.drift_detection import (
    ADDRESSES,
    FILE,
    Collapse,
    DriftDetector,
    DriftError,
    Tally,
    lines_to_look_at,
    tally,
)
from planespotter_scraping.sites import Listing, Site, html_tree
from planespotter_scraping.sites.html_tree import attribute, children
from planespotter_scraping.sites.probes import Probe

SHOWN_LINES = 3
WIDTH = 80


async def refuse_collapsed(watch: DriftDetector, page: Page, listing: Listing, out: Path) -> None:
    """Let a page pass that says what its like used to say. Raise DriftError, with evidence in `out`, if not."""
    collapses = watch.look(listing)
    if collapses:
        usual = watch.usual(listing.markup, skipped=max(collapse.earlier for collapse in collapses))
        usual = usual if usual.cards else watch.usual(listing.markup)
        reason = what_is_gone(watch.site, collapses)
        await _stop(watch.site, page, listing, usual, out, reason, collapses[0].field)


async def refuse_empty(watch: DriftDetector, page: Page, listing: Listing, out: Path, *, reason: str = "") -> NoReturn:
    """Raise DriftError, with evidence in `out`, for a page on which no card was found."""
    usual = watch.usual(max(watch.remembered(), key=lambda kind: watch.usual(kind).cards, default=""))
    html = await page.content()
    likely = likely_cards(html_tree.parse(html))
    reason = (
        reason
        or f"No photo was found at {page.url}: what the reader of {watch.site.name} takes for a card is not there."
    )
    if likely is not None:
        reason += f" {likely[0]} elements <{likely[1]}> may be the cards now."
    await _stop(watch.site, page, listing, usual, out, reason, "")


async def _stop(
    site: Site,
    page: Page,
    listing: Listing,
    usual: Tally,
    out: Path,
    reason: str,
    name: str,
) -> NoReturn:
    """Keep the evidence and raise DriftError."""
    html = await page.content()
    probes = suspects(site, listing, usual, name)
    report = [*look_at_lines(probes, listing, usual), "", *lines(site, listing, usual, html)]
    place = await page_snapshot.save(
        page,
        out,
        reason,
        what=f"no {name}" if name else "no cards",
        facts=facts(site, listing, usual, html)
        | {"look_at": [_probe_facts(probe, listing, usual) for probe in probes]},
        lines=report,
    )
    where = f" Look at {where_is(probes[0])} ({probes[0].name}: {_fall(probes[0], listing, usual)})." if probes else ""
    raise DriftError(
        f"{reason}{where} A screenshot, the page and a report are in {place}. What was stored before is safe, and of "
        "this page nothing was stored. Mend the reader and run the same command again: it goes on here.",
        report,
    )


def what_is_gone(site: Site, collapses: list[Collapse]) -> str:
    """Return a sentence or two about the fields that have collapsed."""
    first, *others = collapses
    now = f"{first.there} of the last {first.cards} ({first.there / max(1, first.cards):.0%})"
    text = f"The pages of {site.name} no longer say the {first.field}: {first.known_from} it "
    if first.known_from == ADDRESSES:
        text += f"on {first.cards} of the last cards, and the cards themselves on {first.there}."
    else:
        text += f"on {first.before:.0%} of the cards, and it is on {now}."
    if others:
        text += f" Gone too: {', '.join(collapse.field for collapse in others)}."
    if first.known_from == "earlier pages had" and first.field not in site.expected:
        text += f" If it is not to come back, remove {FILE} from the catalog's folder."
    return text


def suspects(site: Site, listing: Listing, usual: Tally, name: str) -> list[Probe]:
    """Return the lines of a site's module to look at first if the field `name` ("": the cards) is gone."""
    return lines_to_look_at(site, listing, usual, name)[:SHOWN_LINES]


def where_is(probe: Probe) -> str:
    """Return the file and the line of a probe, from the current folder if it is in it."""
    path = Path(probe.file)
    here = Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{probe.line}"


def facts(site: Site, listing: Listing, usual: Tally, html: str) -> dict[str, object]:
    """Return what a page holds for its reader, for JSON."""
    now = tally(listing)
    likely = likely_cards(html_tree.parse(html))
    return {
        "site": site.name,
        "cards": now.cards,
        "markup": listing.markup,
        "fields": {
            name: {
                "on_the_card": now.said[name],
                "known": now.filled[name],
                "expected_share": site.expected.get(name),
                "share_before": round(usual.said[name] / usual.cards, 3) if usual.cards else None,
                "missing": dict(listing.missing.get(name, Counter())),
            }
            for name in field_names(site, now)
        },
        "probes": [_probe_facts(probe, listing, usual) for probe in site.probes],
        "links_that_nothing_reads": dict(listing.unread),
        "next_page": listing.next_url,
        "likely_cards": {"count": likely[0], "element": likely[1]} if likely else None,
        "example": likely[2] if likely else None,
    }


def _probe_facts(probe: Probe, listing: Listing, usual: Tally) -> dict[str, object]:
    """Return what there is to know of a probe, for JSON."""
    return {
        "name": probe.name,
        "fields": list(probe.fields),
        "file": probe.file,
        "line": probe.line,
        "found": listing.matched.get(probe.name, 0),
        "found_on_a_card_before": round(usual.matched[probe.name] / usual.cards, 3) if usual.cards else None,
    }


def field_names(site: Site, now: Tally) -> list[str]:
    """Return the fields of a report: those that the profile expects first."""
    return [*site.expected, *sorted(set(now.said) - set(site.expected))]


def look_at_lines(probes: list[Probe], listing: Listing, usual: Tally) -> list[str]:
    """Return which lines of the site's module to look at, and why."""
    told = ["LOOK AT"] if probes else []
    for probe in probes:
        told.append(f"  {where_is(probe)}")
        told.append(f"      {linecache.getline(probe.file, probe.line).strip()}")
        told.append(f"      {probe.name}: {_fall(probe, listing, usual)}")
    return told


def _fall(probe: Probe, listing: Listing, usual: Tally) -> str:
    """Return how often a probe finds something now, and how often it used to."""
    found = listing.matched.get(probe.name, 0)
    if not usual.cards:
        return f"found {found} times"
    return f"found {found} times, where it used to be {usual.matched[probe.name] / usual.cards:.2f} on a card"


def lines(site: Site, listing: Listing, usual: Tally, html: str) -> list[str]:
    """Return what a page holds for its reader, as text for people."""
    now = tally(listing)
    of = f", read by {listing.markup}" if listing.markup else ""
    told = [f"FIELDS on {now.cards} cards{of}", "  field           card  known  expected  before  missing because"]
    for name in field_names(site, now):
        expected = f"{site.expected[name]:.0%}" if name in site.expected else "-"
        before = f"{usual.said[name] / usual.cards:.0%}" if usual.cards else "-"
        row = f"  {name:14}{now.said[name]:6}{now.filled[name]:7}{expected:>10}{before:>8}  "
        reasons = "; ".join(f"{reason} ({count})" for reason, count in sorted(listing.missing.get(name, {}).items()))
        told += textwrap.wrap(row + reasons, WIDTH, subsequent_indent=" " * 49) if reasons else [row.rstrip()]
    told += ["", "WHAT THE READER LOOKS FOR", "  found  a card  before  what, and where it stands"]
    for probe in site.probes:
        found = listing.matched.get(probe.name, 0)
        each = f"{found / now.cards:.2f}" if now.cards else "-"
        before = f"{usual.matched[probe.name] / usual.cards:.2f}" if usual.cards else "-"
        told.append(f"{found:7}{each:>8}{before:>8}  {probe.name} ({Path(probe.file).name}:{probe.line})")
    if listing.unread:
        told += ["", "LINKS IN THE CARDS THAT NOTHING READS"]
        told += [f"{count:7}  {kind}" for kind, count in Counter(listing.unread).most_common()]
    likely = likely_cards(html_tree.parse(html))
    if likely is not None:
        count, element, example = likely
        told += ["", f"WHAT REPEATS WITH A PICTURE: {count} times <{element}>, for example", ""]
        told += [f"    {line}" for line in example.splitlines()]
    return told


def likely_cards(root: LexborNode) -> tuple[int, str, str] | None:
    """Return how many elements look like cards, what they are, and one of them as HTML; None if there are none.

    They are the elements that hold text and one picture each and repeat most often with the same tag and classes; of
    several inside each other the outermost, of several beside each other those that come last.
    """
    kinds: defaultdict[tuple[str, str], dict[int, LexborNode]] = defaultdict(dict)
    depths: dict[tuple[str, str], int] = {}
    pictures: Counter[int] = Counter()
    waiting: list[tuple[LexborNode, tuple[LexborNode, ...]]] = [(root, ())]
    while waiting:
        node, around = waiting.pop()
        if node.tag == "img":
            for place, outer in enumerate(around):
                pictures[outer.mem_id] += 1
                kind = (outer.tag or "", attribute(outer, "class"))
                kinds[kind][outer.mem_id] = outer
                depths.setdefault(kind, len(around) - place)
        inside = (*around, node)[-12:]  # a card is not that deep
        waiting.extend((child, inside) for child in children(node) if child.is_element_node)
    best: tuple[int, int, int] = (0, 0, 0)
    found: tuple[str, str] | None = None
    for order, (kind, nodes) in enumerate(kinds.items()):
        single = [key for key, node in nodes.items() if pictures[key] == 1 and html_tree.texts(node)]
        rank = (len(single), depths[kind], -order)  # the walk is from the end of the page to its beginning
        if kind[0] and len(single) > 2 and len(single) > len(nodes) / 2 and rank > best:
            best, found = rank, kind
    if found is None:
        return None
    count, (tag, classes) = best[0], found
    node = next(node for key, node in kinds[(tag, classes)].items() if pictures[key] == 1)
    return count, f'{tag} class="{classes}"' if classes else tag, html_tree.to_html(node)
