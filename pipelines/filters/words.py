"""The words that the filters look at: what is left when placeholders are gone."""

import re

PLACEHOLDER = re.compile(r"<[A-Z_]+_\d+>")
runs = re.compile(r"[^\W_]+").findall
"""Runs of letters and digits of any script."""


def bare(text: str) -> str:
    """`text` with a blank in the place of each placeholder."""
    return PLACEHOLDER.sub(" ", text) if "<" in text else text
