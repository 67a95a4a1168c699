"""A real gateway whose canary is reached through a proxy that breaks a share of what passes.

    python -m tests.faults.gateway NAME --version 2 --fail 0.05

Start it before `seqline rollout NAME --watch` or `seqline retrain`: both attach to a gateway that runs already.
"""

import argparse
from typing import Any

from flows.serve import fetch, judge
from flows.settings import Settings, spec_of
from pipelines.rollout.store import Store
from pipelines.serving.server import serve
from pipelines.serving.supervisor import Launcher
from tests.faults.proxy import Faults, through


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--version", required=True, help="whose engine is broken")
    for fault in ("fail", "drop", "delay", "replace"):
        parser.add_argument(f"--{fault}", type=float, default=0.0, help="share of the requests")
    given: dict[str, Any] = vars(parser.parse_args())
    name, version = given.pop("name"), given.pop("version")
    settings = Settings().apply()
    spec = spec_of(name, settings)
    store = Store(settings.database)
    store.create()

    def bring(wanted: str) -> Any:
        return fetch(spec.name, wanted, settings)

    with judge(spec, settings) as judge_url:
        launch = through(Launcher(spec, bring), {version: Faults(**given)})
        serve(spec, store, bring, settings.hmac_key, judge_url, launch=launch)


if __name__ == "__main__":
    main()
