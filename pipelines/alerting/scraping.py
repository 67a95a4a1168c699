"""prometheus.yml: which gateways are asked for their numbers, and who is told of alerts."""

from collections.abc import Sequence
from typing import Any

from pipelines.spec import Spec

ALERTMANAGER = "127.0.0.1:9093"
FACTS = "127.0.0.1:8100"
"""The status page, whose /metrics tell what no gateway knows: drift, labels that are waited for, cost."""
REGION = "local"


def config(
    specs: Sequence[Spec],
    *,
    region: str = REGION,
    alertmanager: str = ALERTMANAGER,
    facts: str = FACTS,
    gpus: Sequence[str] = (),
    interval: str = "15s",
) -> dict[str, Any]:
    """The content of prometheus.yml: the gateways of `specs` where each says that it listens, all in one `region`.

    `facts` is the status page's address, `gpus` are those of GPU exporters.
    """
    of = {"region": region}
    return {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": ["rules/*.yml"],
        "alerting": {
            # two Prometheus that watch the same send the same alert, but for this label of theirs: Alertmanager keeps one
            "alert_relabel_configs": [{"action": "labeldrop", "regex": "replica"}],
            "alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}],
        },
        "scrape_configs": [
            {
                "job_name": "seqline",
                "honor_labels": True,  # the gateway's own `model` is the target's
                "static_configs": [_target(spec, region) for spec in specs],
            },
            {"job_name": "seqline-facts", "honor_labels": True, "static_configs": [{"targets": [facts], "labels": of}]},
            *([{"job_name": "gpu", "static_configs": [{"targets": [*gpus], "labels": of}]}] if gpus else []),
        ],
    }


def _target(spec: Spec, region: str) -> dict[str, Any]:
    host = spec.serving.host
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return {"targets": [f"{reached}:{spec.serving.port}"], "labels": {"model": spec.name, "region": region}}
