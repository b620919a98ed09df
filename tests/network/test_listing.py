"""A page of a listing gives the same keys, sizes and ETags as a plain XML parser, whatever the keys are called."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote_plus
from xml.etree.ElementTree import fromstring
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given, strategies as st

from viplake.lake.store import _is_odd, _may_be_odd
from viplake.network.listing import ListingError, RawPage, parse_page

ROOT: Final = "root/"
TEXT: Final = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12)
KEYS: Final = st.lists(TEXT, unique=True, max_size=5)


def answer(contents: str, *, coded: bool, more: str = "") -> bytes:
    coding = "<EncodingType>url</EncodingType>" if coded else ""
    return f"<ListBucketResult><Name>b</Name>{coding}{more}{contents}</ListBucketResult>".encode()


def entry(key: str, size: int, *, coded: bool) -> str:
    name = quote(ROOT + key) if coded else escape(ROOT + key)
    return (
        f"<Contents><Key>{name}</Key><LastModified>2022-05-10T13:25:01.000Z</LastModified>"
        f"<ETag>&quot;{size:032x}&quot;</ETag><Size>{size}</Size></Contents>"
    )


def by_elements(body: bytes, *, coded: bool) -> list[tuple[str, int, str]]:
    """What a parser of XML finds."""
    found = []
    for one in fromstring(body).iter("Contents"):
        key, size, etag = (one.findtext(name, "") for name in ("Key", "Size", "ETag"))
        found.append(((unquote_plus(key) if coded else key).removeprefix(ROOT), int(size), etag.strip('"')))
    return found


def rows(page: RawPage) -> list[tuple[str, int, str | None]]:
    return [(key, page.sizes[at], page.etag(at)) for at, key in enumerate(page.keys)]


@given(KEYS, st.booleans())
@example(["plain", "a+b", "a%20b"], False)
@example(["plain", "a+b", "a&b", "a\xa0b"], True)
def test_a_page_holds_what_an_xml_parser_finds_in_it(keys: list[str], coded: bool) -> None:
    body = answer("".join(entry(key, at, coded=coded) for at, key in enumerate(keys)), coded=coded)
    assert rows(parse_page(body, ROOT)) == by_elements(body, coded=coded)


def test_a_field_that_the_store_leaves_out_moves_no_other_value() -> None:
    bare = f"<Contents><Key>{ROOT}a</Key><Size>1</Size></Contents>"
    body = answer(bare + entry("b", 2, coded=False), coded=False)
    page = parse_page(body, ROOT)
    assert rows(page) == [("a", 1, None), ("b", 2, f"{2:032x}")]
    assert page.modified_at(0) is None
    assert page.modified_at(1) is not None


def test_marks_of_a_page_are_found_before_and_after_its_objects() -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken>"
    objects = entry("a", 1, coded=False)
    for body in (answer(objects, coded=False, more=more), answer(objects + more, coded=False)):
        assert parse_page(body, ROOT).token == "t&1"
    folder = f"<CommonPrefixes><Prefix>{ROOT}x/</Prefix></CommonPrefixes>"
    assert parse_page(answer(folder, coded=False, more=more), ROOT).folders == ["x/"]


def test_a_size_that_is_no_number_is_no_page() -> None:
    with pytest.raises(ListingError):
        parse_page(answer("<Contents><Key>a</Key><Size>many</Size></Contents>", coded=False))


@given(st.lists(st.text(st.sampled_from("a./\n\x7f\ud800é "), max_size=4), max_size=4))
def test_no_odd_key_of_a_page_goes_unseen(keys: list[str]) -> None:
    assert _may_be_odd(keys) >= any(_is_odd(key) for key in keys)


def test_a_page_of_plain_keys_is_not_looked_through_key_by_key() -> None:
    assert not _may_be_odd(["20220510/13/Voyage_1.json.gz", "20220510/13/Löschung_1.json.gz"])
