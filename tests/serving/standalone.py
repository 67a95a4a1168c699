"""`serve` in a process of its own, for tests of signals: python -m tests.serving.standalone SPEC DATABASE EXPORT"""

import sys
from pathlib import Path

from pipelines.rollout.store import Store
from pipelines.serving.server import serve
from pipelines.spec import Spec
from tests.serving.site import KEY


def main() -> None:
    spec, database, export = sys.argv[1:]
    served = Spec.model_validate_json(Path(spec).read_text())
    serve(served, Store(f"sqlite:///{database}"), lambda _: Path(export), KEY, port=0, ready=say)
    say("returned")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
