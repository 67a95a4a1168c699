"""The page: whole, by itself, its texts escaped."""

import re

from pipelines.monitoring import made, page, watched
from tests.monitoring.made_up import TOOLS, stanzas, traffic


def test_a_page_shows_what_moved_and_reaches_for_nothing() -> None:
    profile = made(stanzas(600, seed=1), TOOLS)
    moved = [text + " <script>alert(1)</script>" for text in stanzas(250, seed=2, kinds=("games",))]
    sides = [("input", profile, traffic(moved), TOOLS), ("output", profile, traffic(stanzas(50, seed=3)), TOOLS)]
    found = watched("tiny", "3", sides, 0.0, 86_400.0)
    drawn = page.draw(found)
    assert "section: games" in drawn
    assert "tiny version 3" in drawn
    assert "Probably since 1970-01-01 00:16 UTC" in drawn
    assert drawn.count("<svg") == 3  # the evidence of both sides, the shares of the one that moved
    assert "<script" not in drawn
    assert "&lt;script&gt;" in drawn
    assert not re.search(r'(?:src|href)="(?!#)', drawn)
    assert page.draw(found) == drawn
