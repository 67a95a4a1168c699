"""The rules of infra/ in a hurry: every duration of what Prometheus and Alertmanager are told, divided by one number.

A window of three days is no test. What is divided: windows, offsets, `for`, intervals and waits, and the seconds of a window by
which a rate is multiplied to be a count again. Thresholds, labels and the rest of each expression stay as the product writes
them, and so do ages that are told in days (a source read 16 days ago is not made younger here).
"""

import re
from collections.abc import Mapping
from typing import Any

UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}  # milliseconds
WINDOW = re.compile(r"\[(\d+[smhd])\]")
OFFSET = re.compile(r"\boffset (\d+[smhd])\b")
COUNTED = re.compile(r"\* (\d+) >=")
WAITS = {"for", "interval", "scrape_interval", "evaluation_interval", "group_wait", "group_interval", "repeat_interval"}


def duration(text: str, scale: float) -> str:
    """A duration such as 30m, `scale` times shorter: 30s. Never none at all."""
    return f"{max(1, round(int(text[:-1]) * UNITS[text[-1]] / scale))}ms"


def expression(text: str, scale: float) -> str:
    """An expression over windows that are `scale` times shorter."""
    text = WINDOW.sub(lambda found: f"[{duration(found[1], scale)}]", text)
    text = OFFSET.sub(lambda found: f"offset {duration(found[1], scale)}", text)
    return COUNTED.sub(lambda found: f"* {int(found[1]) / scale:g} >=", text)


def hurried(content: Any, scale: float) -> Any:
    """The content of a rule file, of prometheus.yml or of alertmanager.yml, `scale` times quicker."""
    if isinstance(content, Mapping):
        return {key: _value(str(key), value, scale) for key, value in content.items()}
    return [hurried(each, scale) for each in content] if isinstance(content, list) else content


def _value(key: str, value: Any, scale: float) -> Any:
    if key in WAITS and isinstance(value, str):
        return duration(value, scale)
    return expression(value, scale) if key == "expr" else hurried(value, scale)
