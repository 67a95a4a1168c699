"""Panels of a Grafana dashboard: a title, a unit and queries. Grafana's own SDK knows how that is written in its JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    TextBoxVariable,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as Timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef, VariableRefresh

SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
NOTHING = "none so far"  # of counters that begin with the first error, hit or rating, Prometheus knows nothing before it
WIDE, NARROW, HIGH = 8, 6, 8  # of a grid 24 wide


@dataclass(frozen=True)
class Shown:
    """One panel: `queries` by their legends, in Grafana's `unit`; `now` shows the last value large instead of a curve."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    text: str = ""
    now: bool = False
    bounds: tuple[float, float] | None = None

    @property
    def panel(self) -> Stat | Timeseries:
        """As the SDK's builder."""
        built: Stat | Timeseries = _value() if self.now else _curve()
        built = built.title(self.title).description(self.text).unit(self.unit).datasource(SOURCE).no_value(NOTHING)
        built = built.span(NARROW if self.now else WIDE).height(HIGH)
        if self.bounds:
            built = built.min(self.bounds[0]).max(self.bounds[1])
        for place, (legend, expr) in enumerate(self.queries.items()):
            asked = Dataquery().expr(expr).legend_format(legend).datasource(SOURCE).ref_id(ascii_uppercase[place])
            built = built.with_target(asked.instant() if self.now else asked.range())
        return built


def dashboard(uid: str, title: str, shown: Sequence[Shown], since: str, links: Mapping[str, str]) -> str:
    """A dashboard's JSON, the same bytes each time. `links` stand at its top, by name; `since` is as in now-6h."""
    made = Dashboard(title).uid(uid).tags(["seqline"]).time(since, "now").refresh("30s").timezone("browser").readonly()
    made = made.with_variable(DatasourceVariable("source").label("Prometheus").type("prometheus"))
    for label in ("model", "region"):
        made = made.with_variable(_choice(label))
    for text, url in links.items():
        made = made.link(DashboardLink(text).type(DashboardLinkType.LINK).url(url).target_blank(True))
    made = made.with_variable(TextBoxVariable("mlflow").label("MLflow").default_value("http://127.0.0.1:5000"))
    for number, each in enumerate(shown, 1):
        made = made.with_panel(each.panel.id(number))
    return JSONEncoder(sort_keys=True, indent=1).encode(made.build()) + "\n"


def queries(text: str) -> dict[str, str]:
    """`TITLE: LEGEND` -> query, of a dashboard's JSON."""
    content: dict[str, Any] = json.loads(text)
    return {
        f"{panel['title']}: {each['legendFormat']}": each["expr"] for panel in content["panels"] for each in panel["targets"]
    }


def _curve() -> Timeseries:
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    return Timeseries().fill_opacity(8).legend(legend)


def _value() -> Stat:
    return Stat().reduce_options(ReduceDataOptions().calcs(["lastNotNull"])).graph_mode(BigValueGraphMode.NONE)


def _choice(label: str) -> QueryVariable:
    found = f"label_values(seqline_sli_events_total, {label})"
    chosen = QueryVariable(label).datasource(SOURCE).query({"query": found, "refId": label})
    return chosen.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True).all_value(".*")
