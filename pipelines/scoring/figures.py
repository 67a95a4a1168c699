"""The figures of a report, as JSON that is the same bytes each time."""

import json
from pathlib import Path
from typing import Any

DECIMALS = 6  # more would be noise of the processor


def write(path: Path, content: object) -> None:
    """Write `content` into `path`, its keys sorted, its numbers rounded to six decimals."""
    path.write_text(json.dumps(_rounded(content), indent=1, sort_keys=True, allow_nan=False) + "\n")


def _rounded(content: Any) -> Any:
    if isinstance(content, float):
        return round(content, DECIMALS)
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    return [_rounded(value) for value in content] if isinstance(content, list | tuple) else content
