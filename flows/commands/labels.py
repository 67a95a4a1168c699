"""`seqline labels NAME fill` asks people about a model's answers in MLflow; `seqline labels NAME status` says what they told.

Both read MLflow and the rollout database. What was read last lies in the workspace, labels/NAME/: told.json, which `seqline
status` shows; labels.parquet, the labels with their weights, for whoever looks again; frozen.json, the judge's record.
"""

import json
import os
import time
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from flows.commands.orders import Json, Name
from flows.labelling import TOLD
from flows.reporting import report
from flows.settings import Settings, spec_of
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.registry.labels import Answered, Judged
    from pipelines.registry.queues import Listed
    from pipelines.scoring.judge.threshold import Frozen
    from pipelines.scoring.labels.labelled import How, Told
    from pipelines.spec import Spec

ROWS, FROZEN = "labels.parquet", "frozen.json"


class What(StrEnum):
    fill = "fill"
    status = "status"


def labels(
    name: Name,
    what: Annotated[What, typer.Argument(help="fill the review queue, or say what its answers tell.")],
    n: Annotated[int, typer.Option("--n", min=1, max=1_000, help="How many answers shall wait in the queue.")] = 20,
    version: Annotated[str, typer.Option(help="Of this version; by default of champion and canary, half each.")] = "",
    frozen: Annotated[
        Path | None, typer.Option(help="The judge's scores.json, or its threshold records: kept, to tell its drift by.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask people about the model's answers, and correct the judge's rate by what they say."""
    settings = Settings().apply()
    spec = spec_of(name, settings)
    if frozen:
        keep_frozen(frozen, spec.name, settings)
    read = Read(spec.name, settings)
    if what is What.fill:
        _fill(read, n, version, settings, as_json)
    else:
        told = read.told(how_of(spec, settings))
        content = keep(spec.name, told, read.answered, settings)
        report(content, as_json, Text("\n".join(lines(content, told))))


def _fill(read: "Read", size: int, version: str, settings: Settings, as_json: bool) -> None:
    """Raises UserError where nothing waits and nothing is left to draw."""
    asked = read.fill(size, version)
    waiting = len(read.queues.waiting())
    if not waiting:
        raise UserError(f"{read.name}: nothing to ask about: no sampled answer of these versions is left to draw")
    page = f"{settings.mlflow_ui}{read.queues.page()}"
    put = {each: ", ".join(f"{count} {of}" for of, count in counts.items()) for each, counts in asked.items()}
    shown = [f"{read.name} version {each}: {counts or 'nothing new'}" for each, counts in put.items()]
    shown += [f"{waiting} answers wait: {page}"]
    report({"asked": asked, "waiting": waiting, "page": page}, as_json, Text("\n".join(shown)))


def known(spec: "Spec", champion: str | None, settings: Settings) -> dict[str, Any]:
    """What scores.json says of labels (labelled.scored), where version `champion` is in production. Raises Transient."""
    from pipelines.scoring.labels.labelled import scored

    try:
        read = Read(spec.name, settings)
    except UserError:  # nobody was ever answered
        return scored([], champion)
    return scored(read.told(how_of(spec, settings)), champion)


class Read:
    """What MLflow and the rollout database hold of a model, read once."""

    def __init__(self, name: str, settings: Settings) -> None:
        """Raises UserError: the model has no sampled answers. Transient: a database does not answer."""
        from pipelines.registry import kept
        from pipelines.registry.labels import judged
        from pipelines.registry.queues import Queues
        from pipelines.rollout.store import Store
        from pipelines.rollout.verdicts import verdicts

        self.name, self.settings = name, settings
        self.queues = Queues(settings.mlflow, name, settings.artifacts)
        self.waiting = self.queues.waiting()
        self.answered: Answered = judged(settings.mlflow, name, settings.artifacts)
        self.kept = kept.read(  # of answers that are gone by age
            kept.path_of(settings.workspace, name), settings.hmac_key, self.answered.rows
        )
        self.store = Store(settings.database)
        self.store.create()
        self.verdicts = verdicts(self.store, name)

    @cached_property
    def listed(self) -> "list[Listed]":
        """Every sampled answer: a page of MLflow for each hundred of them."""
        return self.queues.listed()

    def told(self, how: "How | None" = None) -> "list[Told]":
        """What the labels say, version by version."""
        from pipelines.scoring.labels.labelled import Left, left_of, tell

        asked = self.waiting or self.answered.rows  # else there is nothing that a reviewer could have put away
        left = left_of(self.listed, self.waiting, self.answered.rows) if asked else []
        put = [Left(*each) for each in self.kept.left]
        return tell(self.name, [*self.answered.rows, *self.kept.rows], [*left, *put], self.verdicts, how)

    def fill(self, size: int, version: str = "") -> dict[str, dict[str, int]]:
        """Put answers into the queue until `size` wait, half of each version; version -> stratum -> how many were put."""
        from collections import Counter

        from flows.commands.samples import strangeness
        from pipelines.scoring.labels.asked import ask
        from pipelines.scoring.labels.strata import chances

        strange = strangeness(self.listed, self.name, self.settings)
        found: dict[str, dict[str, int]] = {}
        told = {each.version: each for each in self.told()}
        versions = [version] if version else self._served()
        for number, each in enumerate(versions):
            part = size // len(versions) + (number < size % len(versions))
            sides = (told[each].flagged, told[each].passed) if each in told else None
            asked = ask(self.listed, self.waiting, sides, part, each, strange)
            self.queues.ask(asked, chances(self.listed, asked, each, strange))
            found[each] = dict(sorted(Counter(name for names in asked.values() for name in names).items()))
        return found

    def _served(self) -> list[str]:
        """Champion and canary; before there is a route, the newest version that was sampled."""
        from pipelines.scoring.labels.labelled import newest

        route = self.store.route(self.name)
        named = [each for each in (route.champion, route.canary) if each] if route else []
        sampled = sorted({each.version for each in self.listed}, key=newest)
        return [each for each in named if each in sampled] or sampled[-1:]


def keep(name: str, told: "Sequence[Told]", answered: "Answered", settings: Settings) -> dict[str, Any]:
    """Write what was read into the workspace; the content of told.json."""
    folder = settings.folder("labels", name)
    content = {
        "name": name,
        "at": time.time(),
        "versions": [each.plain() for each in told],
        "malformed": {"count": len(answered.malformed), "lines": answered.malformed},
    }
    write_rows(answered.rows, told, folder / ROWS)
    fresh = folder / f".{os.getpid()}.{TOLD}"
    fresh.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    fresh.replace(folder / TOLD)
    return content


def write_rows(rows: "Sequence[Judged]", told: "Sequence[Told]", path: Path) -> None:
    """The labels: scrubbed texts, reviewers by number.

    `weight` says for how many answers of its version a label stands in the corrected rate; null where it was sought out, not
    drawn by its verdict. `chance` is the probability with which such an answer is labelled, whatever it was drawn by.
    """
    import pyarrow as pa
    from pyarrow import parquet

    from pipelines.scoring.labels.strata import stratum_of

    weights = {(each.version, name): side.weight for each in told for name, side in each.strata}
    numbers = {reviewer: number for number, reviewer in enumerate(sorted({row.reviewer for row in rows}))}
    content = [
        {
            "item": row.item, "version": row.version, "source": row.source, "output": row.output, "verdict": row.verdict,
            "answer": row.answer, "span": row.span, "reviewer": numbers[row.reviewer], "at": row.at,
            "weight": weights.get((row.version, of)) if row.verdict is not None and of in row.drawn else None,
            "chance": row.chance,
        }
        for row, of in ((row, stratum_of(bool(row.verdict))) for row in rows)
    ]  # fmt: skip
    schema = pa.schema(
        [
            ("item", pa.string()), ("version", pa.string()), ("source", pa.string()), ("output", pa.string()),
            ("verdict", pa.bool_()), ("answer", pa.string()), ("span", pa.string()), ("reviewer", pa.int32()),
            ("at", pa.float64()), ("weight", pa.float64()), ("chance", pa.float64()),
        ]
    )  # fmt: skip
    fresh = path.with_name(f".{os.getpid()}.{path.name}")
    parquet.write_table(pa.Table.from_pylist(content, schema=schema), fresh)
    fresh.replace(path)


def keep_frozen(path: Path, domain: str, settings: Settings) -> None:
    """Keep the threshold record of `domain` among those in `path`, to tell the judge's drift by.

    Raises:
        UserError: the file holds no threshold records, or none of this domain.
    """
    from pipelines.scoring.judge.threshold import Frozen

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--frozen {path.name}: cannot be read ({type(error).__name__}): give the judge's records") from None
    if isinstance(content, dict):
        content = list(content.get("thresholds", {}).values())
    if not isinstance(content, list) or not content:
        raise UserError(f"--frozen {path.name}: holds no threshold records: give the scores.json of the judge's report")
    record = next((each for each in map(Frozen.read, content) if each.domain == domain), None)
    if record is None:
        raise UserError(f"--frozen {path.name}: no threshold record of {domain}: freeze the judge for it")
    text = json.dumps(record.plain(), indent=1, sort_keys=True)
    fresh = settings.folder("labels", domain) / f".{os.getpid()}.{FROZEN}"
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.replace(fresh.with_name(FROZEN))


def how_of(spec: "Spec", settings: Settings) -> "How":
    """How the labels of a model are read."""
    from pipelines.scoring.labels.labelled import How

    return How(frozen_record(spec, settings), spec.scoring.confidence, spec.scoring.max_unsupported)


def frozen_record(spec: "Spec", settings: Settings) -> "Frozen | None":
    """The judge's threshold record for this model: its own where it is a trained one, else what `keep_frozen` kept.

    None where it was not frozen for the model: then nobody can tell whether it drifted. Raises UserError, Corrupt.
    """
    from pipelines.scoring.judge import REGISTERED
    from pipelines.scoring.judge.threshold import Frozen

    said = spec.scoring.judge
    if said not in ("lexical", "evidence") and ((trained := Path(said).is_dir()) or REGISTERED.fullmatch(said)):
        from flows.fetching import fetched
        from pipelines.scoring.judge.cascade import Opened

        found = Opened(Path(said) if trained else fetched(said, settings)).domain(spec.name).threshold
        return found if found and found.domain == spec.name else None
    path = settings.workspace / "labels" / spec.name / FROZEN
    return Frozen.read(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def lines(content: dict[str, Any], told: "Sequence[Told]") -> list[str]:
    """What `seqline labels NAME status` shows."""
    found = [line for each in told for line in each.lines()] or [f"{content['name']}: nothing was judged or labelled yet"]
    if bad := content["malformed"]["lines"]:
        found += [f"cannot be read and is not counted ({len(bad)}):", *(f"  {line}" for line in bad)]
    return found
