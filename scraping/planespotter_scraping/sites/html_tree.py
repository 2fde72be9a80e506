"""HTML as a small tree, for readers of pages that must not fail whatever the page holds."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from urllib.parse import SplitResult, urljoin, urlsplit

# Elements that hold nothing, so that nothing ends them.
VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"),
)
CANDIDATE = re.compile(r"(\S*[^\s,])(?:\s+(\d+(?:\.\d+)?)([wx]))?\s*(?:,|$)")


@dataclass
class Node:
    """An element: its tag, its attributes ("" for one without a value), and what is in it, in order."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: "list[Node | str]" = field(default_factory=list)

    def get(self, name: str) -> str:
        """Return the attribute `name` without the space around it, "" if it is not there."""
        return self.attributes.get(name, "").strip()

    @property
    def classes(self) -> list[str]:
        """The names in the attribute class."""
        return self.attributes.get("class", "").split()

    def descend(self) -> "Iterator[Node | str]":
        """Yield all elements and texts in this element, in the order of the page. No depth is too deep."""
        waiting = self.children[::-1]
        while waiting:
            child = waiting.pop()
            yield child
            if isinstance(child, Node):
                waiting.extend(reversed(child.children))

    def nodes(self) -> "Iterator[Node]":
        """Yield all elements in this element, in the order of the page."""
        return (child for child in self.descend() if isinstance(child, Node))

    def texts(self) -> list[str]:
        """Return the pieces of text in this element, without the empty ones."""
        pieces = (" ".join(child.split()) for child in self.descend() if isinstance(child, str))
        return [piece for piece in pieces if piece]

    def text(self) -> str:
        """Return all text in this element."""
        return " ".join("".join(child for child in self.descend() if isinstance(child, str)).split())


def parse(html: str) -> Node:
    """Return a root that holds the elements of `html`. What is not closed ends with what it is in."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    return builder.root


def to_html(node: Node, longest: int = 4000) -> str:
    """Return an element as HTML, indented and no longer than `longest` letters: to be read by people."""
    lines: list[str] = []
    size = 0
    waiting: list[tuple[int, Node | str]] = [(0, node)]
    while waiting and size <= longest:
        depth, one = waiting.pop()
        if isinstance(one, str):
            text = " ".join(one.split())
        else:
            marks = "".join(
                f' {name}="{escape(value)}"' if value else f" {name}" for name, value in one.attributes.items()
            )
            words = [child for child in one.children if isinstance(child, Node) or child.strip()]
            text = f"<{one.tag}{marks}>"
            if one.tag not in VOID and all(isinstance(child, str) for child in words):
                text += " ".join(" ".join(str(child).split()) for child in words) + f"</{one.tag}>"
            elif one.tag not in VOID:
                waiting.append((depth, f"</{one.tag}>"))
                waiting.extend((depth + 1, child) for child in reversed(words))
        if text:
            lines.append(" " * min(depth, 20) + text)
            size += len(lines[-1]) + 1
    html = "\n".join(lines)
    return html if len(html) <= longest else html[:longest] + " ..."


class _Builder(HTMLParser):
    """Builds the tree."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Node("")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.handle_endtag("a")  # there are no links in links: a new one ends the one before
        values: dict[str, str] = {}
        for name, value in attrs:
            values.setdefault(name, value or "")
        node = Node(tag, values)
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        for place in range(len(self.open) - 1, 0, -1):
            if self.open[place].tag == tag:
                del self.open[place:]
                break

    def handle_data(self, data: str) -> None:
        if self.open[-1].tag not in ("script", "style"):
            self.open[-1].children.append(data)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Take a marked section that the standard library does not know for a comment, as browsers do."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)


def split(address: str) -> SplitResult:
    """Return the parts of an address; empty ones if it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def join(base: str, address: str) -> str:
    """Return the whole address of what a page at `base` calls `address`; "" if it is empty or no address."""
    try:
        return urljoin(base, address) if address else ""
    except ValueError:
        return ""


def largest(srcset: str) -> str:
    """Return the address of the largest candidate of a srcset, "" if it has none."""
    found = [(float(size or 1), address) for address, size, _ in CANDIDATE.findall(srcset)]
    return max(found, default=(0.0, ""), key=lambda candidate: candidate[0])[1]


def image_address(image: Node) -> str:
    """Return the address of the largest picture that an img or source element names, "" if there is none.

    A lazy image has its addresses in attributes of its own, and a stand-in where the picture will be.
    """
    candidates = (
        largest(image.get("srcset")),
        largest(image.get("data-srcset")),
        image.get("data-src"),
        image.get("data-lazy-src"),
        image.get("src"),
    )
    return next((address for address in candidates if address and not address.lower().startswith("data:")), "")
