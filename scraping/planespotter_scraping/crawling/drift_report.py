"""Drift report: stop at a page that its parser no longer understands, with a snapshot and the lines to fix."""

import linecache
import textwrap
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page
from selectolax.lexbor import LexborNode

from planespotter_photos.counts import count_noun
from planespotter_scraping.crawling import page_snapshot
from planespotter_scraping.crawling.drift_detection import (
    HISTORY_FILE,
    DriftDetector,
    DriftError,
    FieldCounts,
    FieldDrift,
    count_fields,
    suspect_probes,
)
from planespotter_scraping.sites import Listing, Site, html_tree
from planespotter_scraping.sites.html_tree import attribute, children
from planespotter_scraping.sites.probes import Probe

MAX_SUSPECTS = 3
HIDDEN_PICTURES = """() => {
  const hidden = { shadow: 0, host: "", backgrounds: 0, canvases: 0 };
  const visit = (root, inShadow) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) {
        const count = node.shadowRoot.querySelectorAll("img, picture").length;
        if (count && !hidden.host) hidden.host = node.localName + (node.id ? "#" + node.id : "");
        hidden.shadow += count;
        visit(node.shadowRoot, true);
      }
      if (inShadow) continue;
      if (node.localName === "canvas" && node.width >= 100 && node.height >= 100) hidden.canvases++;
      const isLarge = node.clientWidth >= 100 && node.clientHeight >= 60;
      if (isLarge && getComputedStyle(node).backgroundImage.includes("url(")) hidden.backgrounds++;
    }
  };
  visit(document, false);
  return hidden;
}"""
LINE_WIDTH = 80
MAX_CARD_DEPTH = 12  # from a card to its picture


async def check_drift(detector: DriftDetector, page: Page, listing: Listing, out: Path) -> None:
    """Check that a page's fields have not drifted.

    Args:
        detector: The detector of the site.
        page: The page in the browser.
        listing: What was parsed from it.
        out: Folder of the catalog, where a snapshot is saved.

    Raises:
        DriftError: A field has drifted.
    """
    drifts = detector.check(listing)
    if drifts:
        reference = detector.reference(listing.markup, skip=max(drift.earlier_pages for drift in drifts))
        reference = reference if reference.cards else detector.reference(listing.markup)
        reason = describe_drift(detector.site, drifts)
        await _stop(detector.site, page, listing, reference, out, reason, drifts[0].field)


async def raise_no_cards(
    detector: DriftDetector, page: Page, listing: Listing, out: Path, *, reason: str = ""
) -> NoReturn:
    """Save a snapshot of a page without cards, and raise DriftError.

    Args:
        detector: The detector of the site.
        page: The page in the browser.
        listing: What was parsed from it.
        out: Folder of the catalog, where the snapshot is saved.
        reason: What happened, as a sentence. Default: that the parser found no cards.
    """
    markup = max(detector.history(), key=lambda kind: detector.reference(kind).cards, default="")
    likely = likely_cards(html_tree.parse(await page.content()))
    reason = (
        reason
        or f"No photo was found at {page.url}: the parser of {detector.site.name} recognizes no element as a card."
    )
    if hidden := await hidden_pictures(page):
        reason = f"{reason} {hidden}"
    if likely is not None:
        reason += f" {likely.count} elements <{likely.element}> may be the new cards."
    await _stop(detector.site, page, listing, detector.reference(markup), out, reason, "")


async def _stop(
    site: Site, page: Page, listing: Listing, reference: FieldCounts, out: Path, reason: str, name: str
) -> NoReturn:
    """Save a snapshot and raise DriftError for the field `name` ("": the cards)."""
    html = await page.content()
    probes = suspects(site, listing, reference, name)
    report = [*suspect_lines(probes, listing, reference), "", *report_lines(site, listing, reference, html)]
    data = report_data(site, listing, reference, html)
    data["suspects"] = [_probe_data(probe, listing, reference) for probe in probes]
    what = f"no {name}" if name else "no cards"
    snapshot = await page_snapshot.save(page, out, reason, what=what, data=data, lines=report)
    where = (
        f" See {location(probes[0])} ({probes[0].name}: {_matches(probes[0], listing, reference)})." if probes else ""
    )
    raise DriftError(
        f"{reason}{where} A screenshot, the page and a report are in {snapshot}. Nothing of this page was stored; "
        "photos of earlier pages are safe. Fix the parser and run the same command again: it resumes at this page.",
        report,
    )


async def hidden_pictures(page: Page) -> str:
    """Return where a page has pictures that its HTML does not show, as a sentence; "" if there are none.

    They are in shadow roots and frames, or are backgrounds of elements or canvases.
    """
    sentences = []
    for frame in page.frames[1:]:
        with suppress(PlaywrightError):  # the frame is gone
            if count := int(await frame.evaluate("document.images.length")):
                sentences.append(f"An iframe ({frame.url}) has {count_noun(count, 'picture')}.")
    with suppress(PlaywrightError):
        hidden = await page.evaluate(HIDDEN_PICTURES)
        if hidden["shadow"]:
            sentences.append(f"A shadow root in <{hidden['host']}> has {count_noun(hidden['shadow'], 'picture')}.")
        if hidden["backgrounds"] > 2:
            sentences.append(f"{hidden['backgrounds']} elements have a picture as their CSS background.")
        if hidden["canvases"] > 2:
            sentences.append(f"{count_noun(hidden['canvases'], 'picture is', 'pictures are')} drawn on a canvas.")
    return " ".join(sentences)


def describe_drift(site: Site, drifts: list[FieldDrift]) -> str:
    """Describe the fields that have drifted, in a sentence or two."""
    first, *rest = drifts
    now = f"{first.present} of the last {first.cards} ({first.present / max(1, first.cards):.0%})"
    text = f"The pages of {site.name} no longer show the {first.field}: "
    if first.reference == "url":
        text += f"{now} cards have it, although the URLs of all these photos do."
    elif first.reference == "profile":
        text += f"{now} cards have it; the site's profile expects {first.expected_share:.0%}."
    else:
        text += f"{now} cards have it; on earlier pages, {first.expected_share:.0%} did."
    if rest:
        text += f" Missing too: {', '.join(drift.field for drift in rest)}."
    if first.reference == "history" and first.field not in site.expected_fill_rates:
        text += f" If the site dropped this field for good, remove {HISTORY_FILE} from the catalog's folder."
    return text


def suspects(site: Site, listing: Listing, reference: FieldCounts, name: str) -> list[Probe]:
    """Return the probes to look at first if the field `name` ("": the cards) has drifted, at most MAX_SUSPECTS."""
    return suspect_probes(site, listing, reference, name)[:MAX_SUSPECTS]


def location(probe: Probe) -> str:
    """Return the file and line of a probe, relative to the current folder if it is inside."""
    path = Path(probe.file)
    here = Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{probe.line}"


def report_data(site: Site, listing: Listing, reference: FieldCounts, html: str) -> dict[str, object]:
    """Return the drift report of a page as JSON."""
    now = count_fields(listing)
    likely = likely_cards(html_tree.parse(html))
    return {
        "site": site.name,
        "cards": now.cards,
        "markup": listing.markup,
        "fields": {
            name: {
                "on_card": now.on_card[name],
                "known": now.known[name],
                "expected_share": site.expected_fill_rates.get(name),
                "earlier_share": round(reference.on_card[name] / reference.cards, 3) if reference.cards else None,
                "missing": dict(listing.missing.get(name, Counter())),
            }
            for name in field_names(site, now)
        },
        "probes": [_probe_data(probe, listing, reference) for probe in site.probes],
        "unread_links": dict(listing.unread_links),
        "next_page": listing.next_url,
        "likely_cards": {"count": likely.count, "element": likely.element} if likely else None,
        "example": likely.example if likely else None,
    }


def _probe_data(probe: Probe, listing: Listing, reference: FieldCounts) -> dict[str, object]:
    """Return a probe and its matches as JSON."""
    earlier = round(reference.probe_matches[probe.name] / reference.cards, 3) if reference.cards else None
    return {
        "name": probe.name,
        "fields": list(probe.fields),
        "file": probe.file,
        "line": probe.line,
        "matches": listing.probe_matches.get(probe.name, 0),
        "earlier_matches_per_card": earlier,
    }


def field_names(site: Site, now: FieldCounts) -> list[str]:
    """Return the fields of a report, those of the site's profile first."""
    return [*site.expected_fill_rates, *sorted(set(now.on_card) - set(site.expected_fill_rates))]


def suspect_lines(probes: list[Probe], listing: Listing, reference: FieldCounts) -> list[str]:
    """Return the source lines to look at, and why, as text."""
    lines = ["SUSPECT LINES"] if probes else []
    for probe in probes:
        lines.append(f"  {location(probe)}")
        lines.append(f"      {linecache.getline(probe.file, probe.line).strip()}")
        lines.append(f"      {probe.name}: {_matches(probe, listing, reference)}")
    return lines


def _matches(probe: Probe, listing: Listing, reference: FieldCounts) -> str:
    """Describe how often a probe matches now and on earlier pages."""
    count = listing.probe_matches.get(probe.name, 0)
    if not reference.cards:
        return f"{count} matches"
    return f"{count} matches; earlier {reference.probe_matches[probe.name] / reference.cards:.2f} per card"


def report_lines(site: Site, listing: Listing, reference: FieldCounts, html: str) -> list[str]:
    """Return the drift report of a page as text."""
    now = count_fields(listing)
    parser = f", parsed by {listing.markup}" if listing.markup else ""
    lines = [
        f"FIELDS on {count_noun(now.cards, 'card')}{parser}",
        "  field           card  known  expected  earlier  missing because",
    ]
    for name in field_names(site, now):
        expected = f"{site.expected_fill_rates[name]:.0%}" if name in site.expected_fill_rates else "-"
        earlier = f"{reference.on_card[name] / reference.cards:.0%}" if reference.cards else "-"
        row = f"  {name:14}{now.on_card[name]:6}{now.known[name]:7}{expected:>10}{earlier:>9}  "
        reasons = "; ".join(f"{reason} ({count})" for reason, count in sorted(listing.missing.get(name, {}).items()))
        lines += textwrap.wrap(row + reasons, LINE_WIDTH, subsequent_indent=" " * 50) if reasons else [row.rstrip()]
    lines += ["", "PROBES OF THE PARSER", "  matches  per card  earlier  what, and its line"]
    for probe in site.probes:
        count = listing.probe_matches.get(probe.name, 0)
        per_card = f"{count / now.cards:.2f}" if now.cards else "-"
        earlier = f"{reference.probe_matches[probe.name] / reference.cards:.2f}" if reference.cards else "-"
        lines.append(f"{count:9}{per_card:>10}{earlier:>9}  {probe.name} ({Path(probe.file).name}:{probe.line})")
    if listing.unread_links:
        lines += ["", "LINKS IN CARDS THAT THE PARSER IGNORES"]
        lines += [f"{count:7}  {kind}" for kind, count in Counter(listing.unread_links).most_common()]
    likely = likely_cards(html_tree.parse(html))
    if likely is not None:
        lines += ["", f"REPEATED ELEMENTS WITH A PICTURE: {likely.count} times <{likely.element}>, for example", ""]
        lines += [f"    {line}" for line in likely.example.splitlines()]
    return lines


@dataclass(frozen=True)
class LikelyCards:
    """Elements that may be cards: how many, their tag and classes, and one of them as HTML."""

    count: int
    element: str
    example: str


def likely_cards(root: LexborNode) -> LikelyCards | None:
    """Guess which elements of a page are its cards.

    Candidates contain text and exactly one picture. The most frequent combination of tag and classes wins; among nested
    elements the outermost, among siblings the last.

    Returns:
        The cards, None if nothing repeats more than twice.
    """
    kinds: defaultdict[tuple[str, str], dict[int, LexborNode]] = defaultdict(dict)
    depths: dict[tuple[str, str], int] = {}
    pictures: Counter[int] = Counter()
    pending: list[tuple[LexborNode, tuple[LexborNode, ...]]] = [(root, ())]
    while pending:
        node, ancestors = pending.pop()
        if node.tag == "img":
            for position, outer in enumerate(ancestors):
                pictures[outer.mem_id] += 1
                kind = (outer.tag or "", attribute(outer, "class"))
                kinds[kind][outer.mem_id] = outer
                depths.setdefault(kind, len(ancestors) - position)
        inside = (*ancestors, node)[-MAX_CARD_DEPTH:]
        pending.extend((child, inside) for child in children(node) if child.is_element_node)
    best_rank: tuple[int, int, int] = (0, 0, 0)
    best_kind: tuple[str, str] | None = None
    for order, (kind, nodes) in enumerate(kinds.items()):
        single = [key for key, node in nodes.items() if pictures[key] == 1 and html_tree.texts(node)]
        rank = (len(single), depths[kind], -order)  # the traversal runs from the end of the page to its start
        if kind[0] and len(single) > 2 and len(single) > len(nodes) / 2 and rank > best_rank:
            best_rank, best_kind = rank, kind
    if best_kind is None:
        return None
    tag, classes = best_kind
    example = next(node for key, node in kinds[best_kind].items() if pictures[key] == 1)
    element = f'{tag} class="{classes}"' if classes else tag
    return LikelyCards(best_rank[0], element, html_tree.to_html(example))
