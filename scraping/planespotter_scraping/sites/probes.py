"""What a reader looks for in a page, and at which line of its module: for reports on pages that it cannot read."""

import linecache
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from selectolax.lexbor import LexborNode

from planespotter_scraping.sites.html_tree import attribute

KINDS_SHOWN = 12


@dataclass(frozen=True)
class Probe:
    """One thing that a reader looks for.

    `name` says what it is, such as "links to /airline/", and is the key of its count in Listing.matched. `fields`
    are the columns that it fills, none for what finds the cards themselves. `file` and `line` are where it stands.
    """

    name: str
    fields: tuple[str, ...]
    file: str
    line: int


def probe_of_line(name: str, fields: tuple[str, ...], file: str, text: str) -> Probe:
    """Return the probe that the first line of the module `file` with `text` in it is. Raises ValueError if none has."""
    found = [number for number, line in enumerate(linecache.getlines(file), start=1) if text in line]
    if not found:
        raise ValueError(f"no line of {file} holds {text!r}")
    return Probe(name, fields, file, found[0])


def probe_of_function(name: str, fields: tuple[str, ...], function: Callable[..., object]) -> Probe:
    """Return the probe that `function` is."""
    code = function.__code__
    return Probe(name, fields, code.co_filename, code.co_firstlineno)


def link_kinds(nodes: Iterable[LexborNode], known: tuple[str, ...]) -> Counter[str]:
    """Count the kinds of the links among `nodes` whose path begins with none of `known`, the most frequent ones.

    The kind of /operator/Druk is /operator/, that of /photos/airport/Paro/PBH is /photos/airport/: what comes before
    the names, of which there are many.
    """
    kinds: Counter[str] = Counter()
    for node in nodes:
        try:
            address = urlsplit(attribute(node, "href") if node.tag == "a" else "")
        except ValueError:
            continue
        if address.path.startswith("/") and not address.path.startswith(known):
            parts = [part for part in address.path.split("/") if part][:-1][:2]
            kinds["/" + "".join(f"{part}/" for part in parts)] += 1
    return Counter(dict(kinds.most_common(KINDS_SHOWN)))
