"""One model, one YAML: the spec, as frozen models that refuse what they do not know.

Every default lives here, a file a section. A wrong spec is refused whole: all errors at once, each as `file: key: rule`.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipelines.errors import UserError
from pipelines.spec.base import Base
from pipelines.spec.data import (
    CatalogsSource,
    Curation,
    Data,
    DebianSource,
    DebianTranslationsSource,
    FilesSource,
    HubSource,
    LabelsSource,
    Limits,
    Source,
    Splits,
    SqlSource,
)
from pipelines.spec.economy import Sweep
from pipelines.spec.judge import Corruptions, CrossTraining, Judge, JudgeGate
from pipelines.spec.planting import Planting
from pipelines.spec.privacy import ENTITIES, Privacy, Rule
from pipelines.spec.rollout import Latency, Objective, Replay, Rollout, Slo, Stage
from pipelines.spec.schedule import Schedule
from pipelines.spec.scoring import Decoding, Gate, Scoring, Slices, Style, Tasks
from pipelines.spec.section import Language, Name, Percent, Section, Share
from pipelines.spec.serving import Cache, Caps, Cost, Endpoint, Filters, Overload, Review, Serving
from pipelines.spec.training import Architecture, Preferences, Private, TokensSection, Training
from pipelines.spec.watch import Watch

__all__ = [
    "ENTITIES",
    "Architecture",
    "Base",
    "Cache",
    "Caps",
    "CatalogsSource",
    "Corruptions",
    "Cost",
    "CrossTraining",
    "Curation",
    "Data",
    "DebianSource",
    "DebianTranslationsSource",
    "Decoding",
    "Endpoint",
    "FilesSource",
    "Filters",
    "Gate",
    "HubSource",
    "Judge",
    "JudgeGate",
    "LabelsSource",
    "Language",
    "Latency",
    "Limits",
    "Name",
    "Objective",
    "Overload",
    "Percent",
    "Planting",
    "Preferences",
    "Privacy",
    "Private",
    "Replay",
    "Review",
    "Rollout",
    "Rule",
    "Schedule",
    "Scoring",
    "Section",
    "Serving",
    "Share",
    "Slices",
    "Slo",
    "Source",
    "Spec",
    "Splits",
    "SqlSource",
    "Stage",
    "Style",
    "Sweep",
    "Tasks",
    "TokensSection",
    "Training",
    "Watch",
    "kind_of",
    "load",
    "load_base",
    "load_judge",
    "schema",
]
S = TypeVar("S", bound=Section)
KINDS = ("debian", "files", "hub", "sql", "catalogs", "labels")  # in the place of an error: no key of the YAML


class Spec(Section):
    kind: Literal["seq2seq"] = "seq2seq"
    """What is trained."""
    name: Name
    """The registered model's name; `NAME-prod` is the one that production reads."""
    task: Literal["summarization", "translation", "text2text"] = "text2text"
    """What the model does, for its card."""
    data: Data
    """Where the pairs come from, what is rejected, how they are split."""
    privacy: Privacy = Privacy()
    """Which personal data is replaced."""
    tokens: TokensSection = TokensSection()
    """Tokenizer and lengths."""
    training: Training = Training()
    """The model and how it learns."""
    teacher: str | None = Field(None, pattern=r"^[a-z][a-z0-9-]{0,62}(@[\w-]+)?$")
    """NAME (its champion), NAME@ALIAS or NAME@VERSION of a model on the same data, whose answers this one learns from."""
    preferences: Preferences | None = None
    """A round on people's corrections after the fine-tuning; none by default."""
    scoring: Scoring = Scoring()
    """Metrics, baselines, gate."""
    sweep: Sweep = Sweep()
    """What `seqline sweep` compares, and what it may give up for a cheaper answer."""
    serving: Serving = Serving()
    """Gateway and engines."""
    slo: Slo = Slo()
    """Promises to the users: what a rollout may spend."""
    rollout: Rollout = Rollout()
    """Stages, tests, approval, traffic."""
    watch: Watch = Watch()
    """What starts a retrain between two scheduled ones."""
    schedule: Schedule = Schedule()
    """When the deployments run."""

    @model_validator(mode="after")
    def privacy_of_training_holds(self) -> "Spec":
        if self.training.private and self.preferences:
            raise ValueError("preferences do not go with training.private: corrections are learnt without noise: leave one out")
        if self.training.private and self.teacher:
            raise ValueError("teacher does not go with training.private: its answers tell of the same pairs: leave one out")
        return self

    @model_validator(mode="after")
    def what_is_promised_is_looked_for(self) -> "Spec":
        self.slo.check(self.serving.filters)
        return self

    @model_validator(mode="after")
    def what_is_watched_is_kept(self) -> "Spec":
        self.watch.check(self.serving.review.keep_days)
        return self

    @model_validator(mode="after")
    def what_is_beaten_is_there(self) -> "Spec":
        if self.scoring.asks_base and self.training.base == "scratch":
            key = "scoring.base" if self.scoring.base else "scoring.gate.beats"
            raise ValueError(f"{key}: the model starts from scratch, so there is no base to compare with: leave `base` out")
        return self

    @model_validator(mode="after")
    def the_teacher_is_another(self) -> "Spec":
        if self.teacher and self.teacher.partition("@")[0] == self.name:
            raise ValueError("teacher must be another model (training.base: champion carries on from this one)")
        return self


def load(path: Path) -> Spec:
    """Read the spec of a model in `path`.

    Raises:
        UserError: the file is missing, is not YAML, or breaks rules; all broken rules in one message, a line each.
    """
    content = _read(path)
    if content.get("kind") == "base":
        raise UserError(f"{path}: kind: this is a base, which nobody serves: `seqline pretrain {path}` makes it")
    if content.get("kind") == "judge":
        raise UserError(f"{path}: kind: this is a judge, which nobody serves: `seqline retrain {path}` makes it")
    return _checked(Spec, content, path)


def kind_of(path: Path) -> str:
    """What the YAML in `path` says it makes (`seq2seq` where it says nothing); raises as `load` where it cannot be read."""
    return str(_read(path).get("kind", "seq2seq"))


def load_judge(path: Path) -> Judge:
    """Read the spec of a judge in `path`; raises as `load`."""
    content = _read(path)
    if content.get("kind") != "judge":
        raise UserError(f"{path}: kind: must be judge: such a YAML lists the models' YAMLs (`corpora`) that it learns from")
    return _checked(Judge, content, path)


def load_base(path: Path) -> Base:
    """Read the spec of a base in `path`; raises as `load`."""
    content = _read(path)
    if content.get("kind") != "base":
        raise UserError(f"{path}: kind: must be base: `seqline retrain {path}` trains a model")
    return _checked(Base, content, path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: give the path of a model's YAML, such as models/synopsis.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{path}: line {line}: not valid YAML: {error.problem}") from None
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping with at least `name` and `data`")
    return content


def _checked(kind: type[S], content: dict[str, Any], path: Path) -> S:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError("\n".join(f"{path}: {line}" for line in _rules(error))) from None


def _rules(error: ValidationError) -> Iterable[str]:
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if part not in KINDS) or "spec"
        yield f"{key}: {_rule(item['type'], item['msg'], item['input'])}"


def _rule(kind: str, message: str, given: object) -> str:
    if kind == "extra_forbidden":
        return "unknown key: remove it, or see `seqline schema` for the keys there are"
    if kind == "missing":
        return "must be given"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    rule = message.removeprefix("Input should be ").removeprefix("String should ")
    shown = json.dumps(given, default=str, ensure_ascii=False)
    return f"must be {rule}, not {shown if len(shown) <= 60 else shown[:57] + '...'}"


def schema() -> dict[str, Any]:
    """The JSON Schema of a YAML in models/, a model's, a base's or a judge's; editors complete and check it by this."""
    from pydantic import TypeAdapter

    return TypeAdapter(Spec | Base | Judge).json_schema()
