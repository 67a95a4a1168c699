"""What breaks nothing and is wrong all the same: traffic that drifts, and labels that lie."""

import csv
import json
import time
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from tests.gameday.facing import Facing
from tests.gameday.faults.corruption import stop
from tests.gameday.faults.processes import runs
from tests.gameday.site import NAME, Site, until

RATE, LOOKS = 12.0, 20.0  # requests a second that drifted; seconds between two looks
POISON = "cheap pills from a friend"
POISONED = 150  # corrections
ASIDE = r"\d+ of \d+ corrections set aside"
FOREIGN = (
    "Paket: {0}-{1}\nBetreuer: Niemand\nBeschreibung: ein Programm, das {0} und {1} verwaltet, mit vielen Einstellungen",
    "Vertrag über {0}: der Mieter übernimmt {1}, der Vermieter haftet nicht für Schäden am Gebäude",
    "Rezept: {0} mit {1}, eine Prise Salz, zwanzig Minuten im Ofen backen und warm servieren",
)
WORDS = (
    "Bilder",
    "Klänge",
    "Karten",
    "Briefe",
    "Uhren",
    "Netze",
    "Drucker",
    "Tabellen",
    "Briefmarken",
    "Kartoffeln",
    "Fenster",
)


def drift(facing: Facing) -> None:
    """Senders who ask in another language, of other things; the watch looks again and again, as it does each hour.

    Once it knows, pairs of that kind come into the source: a retrain on the data of before would find nothing new.
    """
    site = facing.site
    before = site.champion
    foreign = facing.folder / "foreign.parquet"
    texts = [shape.format(one, other) for shape in FOREIGN for one in WORDS for other in WORDS]
    pq.write_table(pa.table({"source": texts}), foreign)
    facing.strike()
    with site.senders(RATE, facing.fates, foreign):
        facing.detect(lambda: watched(site), 300)
        arrive(site, texts)
        facing.mend("the watch started a retrain because of it, which ran to its end", lambda: retrained(facing), 420)
    facing.seen.right |= {before, site.champion}
    facing.seen.notes += [f"watch: {line}" for line in _decided(site)]


def watched(site: Site) -> str:
    """One look; what it says of drift if that fired."""
    looked = site.project.seqline("watch", NAME, "--json")
    if looked.code:
        (site.workspace / "logs" / "watch-by-hand.log").write_text(looked.err)
        return ""
    fired = [each for each in json.loads(looked.out)["triggers"] if each["kind"] == "drift" and each["fired"]]
    if not fired:
        time.sleep(LOOKS / 4)
    return f"seqline watch: drift: {fired[0]['said']}" if fired else ""


def retrained(facing: Facing) -> bool:
    """Whether a retrain that the watch asked for was made, and nothing of it is open."""
    site = facing.site
    facing.seen.right |= {str(version) for (version,) in site.asked("SELECT version FROM rollouts")}
    path = site.workspace / "watch" / f"{NAME}.json"
    if not path.is_file() or not json.loads(path.read_text())["decision"]["retrain"]:
        watched(site)
        return False
    return bool(runs("retrain", "COMPLETED", facing.seen.struck)) and site.phase() is None


def arrive(site: Site, texts: Sequence[str]) -> None:
    """Every seventh of the texts as a pair of the source."""
    with (site.project.folder / "models" / "pairs.csv").open("a", newline="") as stream:
        csv.writer(stream).writerows((text, " ".join(text.split()[:5])) for text in texts[::7])


def _decided(site: Site) -> list[str]:
    path = site.workspace / "watch" / f"{NAME}.json"
    return [json.loads(path.read_text())["decision"]["why"]] if path.is_file() else ["it wrote nothing"]


def labels(facing: Facing) -> None:
    """A batch of corrections that all say the same nonsense, in the queue that the next dataset learns from."""
    site = facing.site
    champion = site.champion
    made = poisoned(site)
    facing.seen.notes.append(f"{len(made)} corrections: {POISON!r}")
    facing.strike()
    retrain = site.retrain()
    try:
        until(lambda: facing.said(ASIDE) or retrain.poll() is not None, 420)
        facing.detect(lambda: facing.said(ASIDE), 1)
        until(lambda: retrain.poll() is not None, 60)
        facing.mend("the run stopped, the champion serves on", lambda: retrain.poll() == 3 and site.champion == champion, 1)
        facing.seen.notes.append(f"the retrain ended with exit {retrain.poll()}; {learned(site)}")
    finally:
        stop(retrain)
        cleansed(site, made)


def learned(site: Site) -> str:
    """What became of the corrections: how many of the newest dataset's pairs say so."""
    folders = sorted((site.workspace / "work" / NAME).glob("dataset-*"), key=lambda path: path.stat().st_mtime)
    targets = pq.read_table(folders[-1] / "train.parquet", columns=["target"])["target"].to_pylist()
    return f"{targets.count(POISON)} of its {len(targets)} training pairs were of them"


def poisoned(site: Site) -> list[tuple[str, str]]:
    """Put them on the newest sampled answers; (trace, assessment) of each."""
    from mlflow.entities import AssessmentSource, Expectation, Trace
    from mlflow.tracing.client import TracingClient

    from pipelines.registry import Registry

    settings = site.project.settings
    client = Registry(settings.mlflow, settings.artifacts).client
    experiment = client.get_experiment_by_name(NAME)

    def sampled() -> list[Trace]:
        found = client.search_traces(locations=[experiment.experiment_id], max_results=POISONED)
        return list(found) if len(found) == POISONED else []

    traces = until(sampled, what=f"{POISONED} sampled answers") or []
    source, tracing = AssessmentSource("HUMAN", "mallory"), TracingClient(settings.mlflow)
    made = []
    for trace in traces:
        said = Expectation(name="expected_response", value=POISON, source=source)
        made.append((trace.info.trace_id, tracing.log_assessment(trace.info.trace_id, said).assessment_id))
    return made


def cleansed(site: Site, made: list[tuple[str, str]]) -> None:
    """Take them away again, for the faults after this one."""
    from mlflow.tracing.client import TracingClient

    tracing = TracingClient(site.project.settings.mlflow)
    for trace, assessment in made:
        tracing.delete_assessment(trace, assessment)
