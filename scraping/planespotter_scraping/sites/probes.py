"""Parser probes: what a parser looks for in a page, and at which line of its module, for drift reports."""

import linecache
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from selectolax.lexbor import LexborNode

from planespotter_scraping.sites.html_tree import attribute, split_url

MAX_KINDS = 12


@dataclass(frozen=True)
class Probe:
    """One thing that a parser looks for.

    Attributes:
        name: What it is, such as "links to /airline/"; key of its count in `Listing.probe_matches`.
        fields: Columns that it fills; empty for a probe that finds the cards.
        file: Module of the parser.
        line: Line in the module, from 1.
    """

    name: str
    fields: tuple[str, ...]
    file: str
    line: int


def probe_of_line(name: str, fields: tuple[str, ...], file: str, text: str) -> Probe:
    """Return the probe at the first line of a module that contains a text.

    Args:
        name: Name of the probe.
        fields: Columns that it fills; empty for a probe that finds the cards.
        file: Path of the module.
        text: Part of the line, such as a selector.

    Raises:
        ValueError: No line contains `text`.
    """
    numbers = [number for number, line in enumerate(linecache.getlines(file), start=1) if text in line]
    if not numbers:
        raise ValueError(f"no line of {file} contains {text!r}")
    return Probe(name, fields, file, numbers[0])


def probe_of_function(name: str, fields: tuple[str, ...], function: Callable[..., object]) -> Probe:
    """Return the probe at the first line of `function`."""
    code = function.__code__
    return Probe(name, fields, code.co_filename, code.co_firstlineno)


def link_kinds(nodes: Iterable[LexborNode], known: tuple[str, ...]) -> Counter[str]:
    """Count links by kind: the first two segments of the path, without the last segment, which is a name.

    The kind of /operator/Druk is /operator/, that of /photos/airport/Paro/PBH is /photos/airport/.

    Args:
        nodes: Elements; only links count.
        known: Prefixes of paths to ignore.

    Returns:
        The MAX_KINDS most frequent kinds.
    """
    kinds: Counter[str] = Counter()
    for node in nodes:
        path = split_url(attribute(node, "href")).path if node.tag == "a" else ""
        if path.startswith("/") and not path.startswith(known):
            parts = [part for part in path.split("/") if part][:-1][:2]
            kinds["/" + "".join(f"{part}/" for part in parts)] += 1
    return Counter(dict(kinds.most_common(MAX_KINDS)))
