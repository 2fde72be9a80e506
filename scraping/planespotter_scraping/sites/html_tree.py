"""HTML trees: thin helper functions over selectolax, so that parsers accept malformed HTML.

The tree is the one that a browser would build (HTML5 parsing, by the Lexbor engine). Comments, and the text of scripts
and style sheets, count as absent.
"""

import re
from collections.abc import Iterator
from html import escape
from itertools import islice
from urllib.parse import SplitResult, urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

# Elements without content or an end tag.
VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"),
)
# Attributes in which scripts for lazy loading keep the URL of the real picture.
LAZY_ATTRIBUTES = (
    "data-src",
    "data-lazy-src",
    "data-original",
    "data-lazy",
    "data-hi-res-src",
    "data-hires",
    "data-full",
    "data-full-src",
    "data-large",
)
# The parser takes quadratic time in the nesting depth, and a browser nests at most 512 elements.
MAX_DEPTH = 10_000
TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)")
# Elements that the next one of their kind ends, so that they do not nest.
FLAT = frozenset(
    (
        *("p", "li", "dt", "dd", "option", "optgroup", "tr", "td", "th", "thead", "tbody", "tfoot", "caption"),
        *("colgroup", "rb", "rp", "rt", "rtc", "body", "html", "head"),
    )
)
SRCSET_CANDIDATE = re.compile(r"(\S*[^\s,])(?:\s+(\d+(?:\.\d+)?)([wx]))?\s*(?:,|$)")


def parse(html: str) -> LexborNode:
    """Return the root element of `html`, which is always `<html>`. Accepts any text; see `limit_depth`."""
    root = LexborHTMLParser(limit_depth(html)).root
    assert root is not None  # the HTML5 algorithm adds one where the text has none
    return root


def limit_depth(html: str) -> str:
    """Remove the tags of elements nested deeper than MAX_DEPTH, and keep their text."""
    if html.count("<") <= MAX_DEPTH:
        return html
    depth = 0

    def keep(match: re.Match[str]) -> str:
        nonlocal depth
        name = match[2].lower()
        if name in VOID or name in FLAT:
            return match[0]
        was_deep = depth > MAX_DEPTH
        depth = max(0, depth - 1) if match[1] else depth + 1
        return "<!" if was_deep or depth > MAX_DEPTH else match[0]  # a bogus comment, which ends at the same >

    return TAG.sub(keep, html)


def base_url(root: LexborNode, url: str) -> str:
    """Return the URL to which a page's relative URLs refer: that of its `<base>`, or its own.

    Args:
        root: Root element of the page.
        url: URL of the page.
    """
    for node in root.css("base[href]"):
        if target := absolute_url(url, attribute(node, "href")):
            return target if split_url(target).scheme in ("http", "https") else url
    return url


def attribute(node: LexborNode, name: str) -> str:
    """Return an attribute's value without surrounding whitespace, "" if the attribute is absent."""
    return (node.attributes.get(name) or "").strip()


def classes(node: LexborNode) -> list[str]:
    """Return the class names of an element."""
    return attribute(node, "class").split()


def children(node: LexborNode) -> list[LexborNode]:
    """Return the elements and text nodes directly inside an element, in document order."""
    return [child for child in node.iter(include_text=True) if child.is_element_node or _is_visible_text(child)]


def elements(node: LexborNode) -> Iterator[LexborNode]:
    """Yield all elements inside an element, at any depth, in document order."""
    return (inner for inner in _inside(node) if inner.is_element_node)


def texts(node: LexborNode) -> list[str]:
    """Return the pieces of text inside an element with whitespace collapsed, without the empty ones."""
    pieces = (" ".join(text_of(inner).split()) for inner in _inside(node) if _is_visible_text(inner))
    return [piece for piece in pieces if piece]


def text(node: LexborNode) -> str:
    """Return all text inside an element with whitespace collapsed."""
    return " ".join("".join(text_of(inner) for inner in _inside(node) if _is_visible_text(inner)).split())


def text_of(node: LexborNode) -> str:
    """Return the text of a text node as it stands."""
    return node.text_content or ""


def _inside(node: LexborNode) -> Iterator[LexborNode]:
    """Yield all nodes inside an element, at any depth, in document order."""
    return islice(node.traverse(include_text=True), 1, None)  # the first is the element itself


def _is_visible_text(node: LexborNode) -> bool:
    """Return whether a node is text outside of scripts and style sheets."""
    return node.is_text_node and (node.parent is None or node.parent.tag not in ("script", "style"))


def to_html(node: LexborNode, max_length: int = 4000) -> str:
    """Return an element as indented HTML for people to read, cut off after `max_length` characters."""
    lines: list[str] = []
    size = 0
    pending: list[tuple[int, LexborNode | str]] = [(0, node)]
    while pending and size <= max_length:
        depth, item = pending.pop()
        line = item if isinstance(item, str) else " ".join(text_of(item).split())
        if not isinstance(item, str) and item.is_element_node:
            attributes = "".join(
                f' {name}="{escape(value)}"' if value else f" {name}" for name, value in item.attributes.items()
            )
            content = [child for child in children(item) if child.is_element_node or text_of(child).strip()]
            line = f"<{item.tag}{attributes}>"
            if item.tag not in VOID and not any(child.is_element_node for child in content):
                line += " ".join(" ".join(text_of(child).split()) for child in content) + f"</{item.tag}>"
            elif item.tag not in VOID:
                pending.append((depth, f"</{item.tag}>"))
                pending.extend((depth + 1, child) for child in reversed(content))
        if line:
            lines.append(" " * min(depth, 20) + line)
            size += len(lines[-1]) + 1
    html = "\n".join(lines)
    return html if len(html) <= max_length else html[:max_length] + " ..."


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL, all of them empty if it is malformed."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def absolute_url(base: str, url: str) -> str:
    """Return what a page at `base` refers to as `url`, as an absolute URL; "" if it is empty or malformed."""
    try:
        return urljoin(base, url) if url else ""
    except ValueError:
        return ""


def largest_candidate(srcset: str) -> str:
    """Return the URL of the largest candidate of a srcset, "" if it has none."""
    candidates = [(float(size or 1), url) for url, size, _ in SRCSET_CANDIDATE.findall(srcset)]
    return max(candidates, default=(0.0, ""), key=lambda candidate: candidate[0])[1]


def image_url(image: LexborNode) -> str:
    """Return the URL of the largest picture that an `<img>` or `<source>` refers to, "" if it has none.

    A lazily loaded image has its URLs in separate attributes, and a placeholder in `src`.
    """
    candidates = (
        largest_candidate(attribute(image, "srcset")),
        largest_candidate(attribute(image, "data-srcset")),
        largest_candidate(attribute(image, "data-lazy-srcset")),
        *(attribute(image, name) for name in LAZY_ATTRIBUTES),
        attribute(image, "src"),
    )
    return next((url for url in candidates if url and not url.lower().startswith("data:")), "")
