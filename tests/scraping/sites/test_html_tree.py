"""HTML trees: malformed HTML is parsed as a browser would, and the helper functions never raise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_scraping.sites import html_tree


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Boeing <b>737", "Boeing 737"),
        ("<p>Air</b>bus</p></div>", "Airbus"),
        ("A320 <![foo[ x ]]> neo", "A320 neo"),
        ("<!-- hidden --><!", ""),
        ("<script>let a = '<p>x</p>'</script><style>p {}</style><p>shown", "shown"),
        ("&#xD800; &lt;b&gt; <", "\N{REPLACEMENT CHARACTER} <b> <"),
        ("", ""),
    ],
)
def test_malformed_html_keeps_its_visible_text(html: str, text: str) -> None:
    assert html_tree.text(html_tree.parse(html)) == text


def test_a_link_inside_a_link_ends_the_outer_one() -> None:
    outer, inner = html_tree.parse("<a href=1>one<a href=2>two</a></a>").css("a")
    assert (html_tree.text(outer), html_tree.text(inner)) == ("one", "two")


def test_the_first_of_two_equal_attributes_counts() -> None:
    (link,) = html_tree.parse('<a HREF=" 1 " href=2 class="b  c" download>').css("a")
    assert html_tree.attribute(link, "href") == "1"
    assert html_tree.attribute(link, "download") == html_tree.attribute(link, "nosuch") == ""
    assert html_tree.classes(link) == ["b", "c"]


def test_elements_and_texts_come_in_document_order_at_any_depth() -> None:
    root = html_tree.parse("<div>" * 3000 + "<p>1</p>2<p>3</p>")
    assert html_tree.texts(root) == ["1", "2", "3"]
    assert [element.tag for element in html_tree.elements(root)][-3:] == ["div", "p", "p"]


@pytest.mark.parametrize("url", ["http://[", "//[", "http://[::1"])
def test_a_malformed_url_has_no_parts(url: str) -> None:
    assert html_tree.split_url(url).path == html_tree.absolute_url("http://photos.test/", url) == ""


TAGS = ("<a>", "</a>", "<p class=x>", "<table>", "<td>", "<svg>", "</p>", "<select>", "<template>", "<script>", "<!")


@given(st.lists(st.sampled_from(TAGS) | st.text()).map("".join))
def test_any_text_is_parsed_without_an_error(html: str) -> None:
    root = html_tree.parse(html)
    for element in html_tree.elements(root):
        assert html_tree.attribute(element, "class") in ("", "x")
    assert "".join(html_tree.text(root).split()) == "".join("".join(html_tree.texts(root)).split())
    assert len(html_tree.to_html(root, 200)) <= 204
