"""What a command says at its end: JSON for a program, or what a person is shown."""

import json
import sys
from typing import Any

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)


def report(content: Any, as_json: bool, shown: Any) -> None:
    """Print `content` as JSON, or what is `shown` to a person."""
    if as_json:
        sys.stdout.write(json.dumps(content, ensure_ascii=False, default=str, indent=1) + "\n")
    else:
        console.print(shown)
