"""infra/prometheus and infra/grafana, from models/: python -m flows.stack.infra [--region NAME] [--gpus ADDRESS ...]

Run it (`make infra`) when a spec's objectives, prices or address change; a test says when it was forgotten.
"""

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows.settings import Settings
from pipelines.alerting import alerts, dashboards, scraping, windows
from pipelines.spec import Spec, kind_of, load

WRITTEN = "# Written by `make infra` from the specs in models/: change those, or pipelines/alerting/.\n"


def files(specs: Sequence[Spec], region: str = scraping.REGION, gpus: Sequence[str] = ()) -> dict[str, str]:
    """Path below infra/ -> the text that belongs there."""
    content: dict[str, Mapping[str, Any]] = {
        "prometheus/prometheus.yml": scraping.config(specs, region=region, gpus=gpus),
        "prometheus/rules/seqline.yml": windows.rules(),
        **{f"prometheus/rules/{spec.name}.yml": alerts.rules(spec) for spec in specs},
    }
    drawn = {f"grafana/{name}.json": text for name, text in dashboards.drawn().items()}
    return {path: WRITTEN + text_of(each) for path, each in content.items()} | drawn


def text_of(content: Mapping[str, Any]) -> str:
    """As YAML."""
    yaml, stream = YAML(), io.StringIO()
    yaml.width = 120
    yaml.dump(content, stream)
    return stream.getvalue()


def served(project: Path) -> list[Spec]:
    """The specs in models/ that a gateway serves."""
    return [load(path) for path in sorted((project / "models").glob("*.yaml")) if kind_of(path) == "seq2seq"]


def stale(written: Mapping[str, str], infra: Path) -> list[str]:
    """What lies in the rules' or the dashboards' folder of `infra` and is none of `written` (a model that was taken away)."""
    there = [*infra.glob("prometheus/rules/*.yml"), *infra.glob("grafana/*.json")]
    return sorted(path for each in there if (path := each.relative_to(infra).as_posix()) not in written)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.stack.infra", description="write infra/prometheus and infra/grafana")
    parser.add_argument("--region", default=scraping.REGION, help="label of all that this Prometheus scrapes")
    parser.add_argument("--gpus", nargs="*", default=(), metavar="ADDRESS", help="host:port of GPU exporters to scrape")
    given = parser.parse_args()
    settings = Settings()
    infra, written = settings.project / "infra", files(served(settings.project), given.region, given.gpus)
    for path in stale(written, infra):
        (infra / path).unlink()
    for path, text in written.items():
        (infra / path).parent.mkdir(parents=True, exist_ok=True)
        (infra / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
