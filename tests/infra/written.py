"""The files that a Prometheus of a test reads: those of infra/, for one gateway, and quicker."""

from pathlib import Path

from flows.stack.infra import text_of
from pipelines.alerting import alerts, scraping, windows
from pipelines.spec import Spec

REGION = "here"


def rules(spec: Spec, folder: Path, every: int = 1) -> list[Path]:
    """The rule files of `spec` in `folder`/rules."""
    (folder / "rules").mkdir(exist_ok=True)
    made = {"seqline": windows.rules(), spec.name: alerts.rules(spec, every)}
    for name, content in made.items():
        (folder / "rules" / f"{name}.yml").write_text(text_of(content))
    return [folder / "rules" / f"{name}.yml" for name in made]


def config(spec: Spec, gateway: str, alertmanager: str, folder: Path, facts: str, gpu: str) -> Path:
    """A prometheus.yml in `folder` that scrapes the gateway, the status page and a GPU exporter every two seconds."""
    rules(spec, folder)
    content = scraping.config([spec], region=REGION, alertmanager=alertmanager, facts=facts, gpus=[gpu], interval="2s")
    content["scrape_configs"][0]["static_configs"][0]["targets"] = [gateway]
    path = folder / "prometheus.yml"
    path.write_text(text_of(content))
    return path
