"""The page of an audit: complete, without script or request, and text of the user's stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import splitleak

from .test_known_answers import people

pytestmark = pytest.mark.slow  # one audit for all of them
HOSTILE = ["</script><script>alert(1)</script>", "=HYPERLINK('x')", "a\nb", "n" * 300, '" onload="alert(1)']


class Tags(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "every tag is closed where it was opened"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    members, strangers = people(0), people(1000)
    members["group"] = [HOSTILE[int(name[1:]) % len(HOSTILE)] + name for name in members["group"]]
    out = tmp_path_factory.mktemp("page")
    declared: dict[str, Any] = {"holder": HOSTILE[0], "receiver": HOSTILE[4], "candidates": 100000}
    splitleak.audit(nn.Sequential(nn.Identity()), members, strangers, out=out, quick=True, declared=declared)
    return out


@pytest.fixture
def page(made: Path) -> Tags:
    tags = Tags()
    tags.feed((made / "audit.html").read_text(encoding="utf-8"))
    return tags


def test_it_has_the_three_blocks_and_what_was_not_tested(page: Tags) -> None:
    for word in ("Measured", "Declared", "Combined", "What was not tested, and why", "the law decides case by case"):
        assert word in page.text
    assert "100000" in page.text
    assert page.open == []


def test_text_of_the_user_stays_text(page: Tags, made: Path) -> None:
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for hostile in (HOSTILE[0], HOSTILE[4]):
        assert hostile in page.text
    names = [
        each["person"]
        for each in json.loads((made / "audit.json").read_text())["measured"]["answers"][0]["exposed"]["persons"]
    ]
    assert any("\n" in name for name in names)
    assert "a\\nb" in page.text  # control characters are shown, not obeyed


def test_it_asks_for_nothing(page: Tags, made: Path) -> None:
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert not [value for name, value in page.attributes if name in ("src", "href", "action")]
    assert not re.search(r"https?://|url\(|@import", (made / "audit.html").read_text(encoding="utf-8"))


def test_the_candidates_that_are_declared_change_what_follows_and_nothing_that_was_measured(made: Path) -> None:
    found = json.loads((made / "audit.json").read_text())
    (combined,) = found["combined"]
    assert combined["candidates"] == 100000
    assert combined["re_identified_among_candidates_at_most"] == combined["re_identified"] == 1.0
    assert combined["re_identified_interval"][0] > 0.98
