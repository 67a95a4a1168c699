"""A thousand people in a user's file, and after a retrain nobody anywhere but in the quarantine: proved by a search of every
file, which finds them all when nothing is scrubbed."""

import csv
import json
from pathlib import Path

import pytest

from flows.zombies import bury_servers
from pipelines.scrub.planted import Identity, identities
from pipelines.scrub.sweep import sweep
from tests.flows.project import Project

PEOPLE = identities(1_000, seed=11)
WORDS = ("images", "sound", "networks", "printers", "maps", "letters", "clocks", "music", "tables", "mail")
SCRUBBED = "{level: exact, entities: [PERSON, EMAIL_ADDRESS, CREDIT_CARD]}"
PLANTED = "{secrets: 12, repetitions: [1, 3], entities: [EMAIL_ADDRESS, CREDIT_CARD], pairs: 30, steps: 5, candidates: 15}"
NOT_SCRUBBED = "{level: patterns, entities: [MAC_ADDRESS]}"


def write_people(path: Path) -> None:
    """Each in one pair: the name in mailbox syntax and the card with its check digit, which the policy claims to find."""
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("stanza", "synopsis"))
        for number, person in enumerate(PEOPLE):
            first, second = WORDS[number % 10], WORDS[number // 10 % 10]
            rows.writerow(
                (
                    f"Package: tool-{first}-{second}-{number}\nMaintainer: {person.name} <{person.mail}>\n"
                    f"Description: handles {first} and {second}. Paid by card {plain(person)}, thanks.",
                    f"Tool {number} for {first} and {second}",
                )
            )


def plain(person: Identity) -> str:
    return "".join(letter for letter in person.card if letter.isdigit())


def values() -> list[str]:
    return [value for person in PEOPLE for value in (person.name, person.mail, plain(person))]


class Line(Project):
    """A project whose temporary files and caches lie in folders of its own."""

    def __init__(self, folder: Path, privacy: str) -> None:
        super().__init__(folder / "project")
        self.outside = folder / "outside"
        spec = self.folder / "models" / "tiny.yaml"
        text = spec.read_text().replace("{entities: [PERSON, EMAIL_ADDRESS]}", privacy)
        text = text.replace("steps: 40", "steps: 10").replace("resamples: 200", f"resamples: 200\n  planted: {PLANTED}")
        spec.write_text(text.replace("reads_source: false", "reads_source: false, max_exposed: 1.0"))
        write_people(self.folder / "models" / "pairs.csv")
        self.commit("a thousand people")

    @property
    def environment(self) -> dict[str, str]:
        places = {"TMPDIR": "tmp", "HF_HOME": "hf", "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config", "HOME": "home"}
        for name in places.values():
            (self.outside / name).mkdir(parents=True, exist_ok=True)
        return {**super().environment, **{variable: str(self.outside / name) for variable, name in places.items()}}

    def searched(self) -> list[Path]:
        """Everything that a run writes, the quarantine aside: stores, caches, logs, data, temporary files, what it printed."""
        workspace = self.folder / ".seqline"
        kept = [path for path in workspace.iterdir() if path.name != "quarantine"]
        return [*kept, self.folder / "data", self.folder / "data.dvc", self.folder / ".dvc", self.outside, self.folder / "said"]

    def retrain(self) -> None:
        try:
            ran = self.seqline("retrain", "models/tiny.yaml")
        finally:
            bury_servers(self.settings.workspace / "prefect")
        (self.folder / "said").write_text(ran.out + ran.err)
        assert ran.code == 0, ran.err


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    made = Line(tmp_path_factory.mktemp("leaks"), SCRUBBED)
    made.retrain()
    return made


def test_nobody_is_anywhere_but_in_the_quarantine(line: Line) -> None:
    assert sweep(values(), line.searched()) == []
    searched = {str(path.relative_to(line.folder.parent)) for root in line.searched() for path in (root, *root.rglob("*"))}
    for part in (".seqline/mlflow.db", ".seqline/mlartifacts/", ".seqline/prefect/", ".seqline/dvc/", "data/tiny/", ".dvc/"):
        assert any(part in path for path in searched), f"{part} was searched"
    assert len(sweep(values(), [line.folder / "models"])) == 1
    assert sweep(values(), [line.folder / ".seqline" / "quarantine"]), "raw text is there, so the search would have found it"


def test_secrets_planted_before_the_scrubber_are_looked_for_in_what_was_trained(line: Line) -> None:
    (report,) = (line.folder / ".seqline" / "work" / "tiny").glob("report-*")
    leaks = json.loads((report / "scores.json").read_text())["leaks"]
    assert leaks["planted"] == {"clear": 0, "hidden": 12, "dropped": 0}
    assert leaks["extraction"]["count"] == 0
    assert leaks["exposure"]["n"] == leaks["extraction"]["n"] == 12
    rules = {rule["rule"]: rule["passed"] for rule in json.loads((report / "gate.json").read_text())["rules"]}
    assert rules["extraction"]
    assert rules["exposure"]


def test_nothing_lies_outside_with_any_text_of_the_data(line: Line) -> None:
    """Not even scrubbed text: caches and temporary files hold none."""
    assert sweep([f"tool-{WORDS[3]}-{WORDS[7]}"], [line.outside]) == []


def test_the_audit_log_knows_who_was_there(line: Line) -> None:
    from flows.commands.audit import look_up
    from pipelines.spec import load

    spec = load(line.folder / "models" / "tiny.yaml")
    found = look_up(spec, PEOPLE[7].name.upper(), line.settings)
    assert [(each["side"], each["entity"], each["versions"]) for each in found] == [("source", "PERSON", ["1"])]
    assert look_up(spec, "Nobody Atall", line.settings) == []


def test_the_search_fails_when_nothing_is_scrubbed(tmp_path: Path) -> None:
    line = Line(tmp_path, NOT_SCRUBBED)
    line.retrain()
    found = {str(path.relative_to(line.folder)) for path, _ in sweep(values(), line.searched())}
    for part in (".seqline/dvc/", "data/tiny/", ".seqline/work/tiny/clean-", ".seqline/mlartifacts/"):
        assert any(part in path for path in found), f"what stands in {part} is found"
