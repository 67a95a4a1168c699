"""`data`: where the pairs come from, what is rejected, how they are split."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.spec.section import Language, Name, Section, Share


class DebianSource(Section):
    kind: Literal["debian"]
    """Package descriptions from the machine's own apt index, read through a private apt root."""
    max_chars: int = Field(1_200_000, ge=1_000)
    """Size of the slice: source and target characters in all. Chosen by hash of the stanza, so that it stays put."""
    description_chars: int = Field(320, ge=0)
    """Longest part of the long description that the source keeps, cut at a word."""


class DebianTranslationsSource(Section):
    kind: Literal["debian_translations"]
    """Package descriptions and their translations by Debian's volunteers, paragraph by paragraph, from the apt index."""
    language: str = Field("de", pattern=r"^[a-z]{2,3}(_[A-Z]{2})?$")
    """Language of the targets."""
    max_chars: int = Field(50_000_000, ge=1_000)
    """Size of the slice: source and target characters in all. Chosen by hash of the pair, so that it stays put."""


class FilesSource(Section):
    kind: Literal["files"]
    """Pairs from JSONL, CSV, TSV or Parquet files, by the files' suffix."""
    paths: tuple[str, ...] = Field(min_length=1)
    """Files or globs, relative to the spec's folder."""
    source: str = "source"
    """Name of the column (or JSON key) that holds the input text."""
    target: str = "target"
    """Name of the column (or JSON key) that holds the output text."""


class HubSource(Section):
    kind: Literal["hub"]
    """Pairs from a dataset of the Hugging Face hub, or from a local folder that `datasets.load_dataset` reads."""
    dataset: str = Field(min_length=1)
    """Hub id, or a folder relative to the spec's."""
    config: str | None = None
    """Configuration of the dataset."""
    split: str = "train"
    """Split of the dataset."""
    revision: str | None = None
    """Commit of the dataset; without one the newest is taken, and recorded."""
    source: str = "source"
    """Column of the input text; a dot enters a column of dicts (`translation.en`)."""
    target: str = "target"
    """Column of the output text."""


class SqlSource(Section):
    kind: Literal["sql"]
    """Pairs from a query, streamed from any database that SQLAlchemy speaks to."""
    url: str = Field(min_length=1)
    """SQLAlchemy URL without a password, or `env:NAME`: the URL stands in the environment variable SEQLINE_SQL_NAME."""
    query: str = Field(min_length=1)
    """A SELECT that gives the columns named below."""
    source: str = "source"
    """Column of the input text."""
    target: str = "target"
    """Column of the output text."""
    cursor: str | None = None
    """Column that only grows (an id, a time): later runs read only the rows above the largest value seen."""


class CatalogsSource(Section):
    kind: Literal["catalogs"]
    """Translations from the gettext and JSON catalogs in packages of the Python index, read straight from the wheels."""
    packages: tuple[str, ...] = Field(min_length=1)
    """Pinned packages, `name==version`; fetched by pip from the index that this machine uses, sha256 recorded."""
    language: str = Field("de", pattern=r"^[a-z]{2,3}(_[A-Z]{2})?$")
    """Language of the targets."""


class LabelsSource(Section):
    kind: Literal["labels"]
    """Answers that people corrected in MLflow: the expectation `expected_response` on a trace of the model's experiment."""
    model: Name
    """The model whose answers were labelled."""
    screened: bool = True
    """Corrections that look like lies beside the data's own pairs are set aside; a batch of them stops the run. Off, everything
    that is in MLflow is learnt from: where a new language or topic is to be learnt from corrections alone."""


Source = Annotated[
    DebianSource | DebianTranslationsSource | FilesSource | HubSource | SqlSource | CatalogsSource | LabelsSource,
    Field(discriminator="kind"),
]


class Limits(Section):
    bad_rows: Share = 0.0
    """Share of rows that may be unreadable (bad UTF-8, null, another type, too long); all of them go to a rejects file, with
    reasons. With more, the run stops."""
    source_chars: int = Field(2_000, ge=1)
    """A pair with a longer source is rejected."""
    target_chars: int = Field(400, ge=1)
    """A pair with a longer target is rejected."""
    reject_rate: Share = 0.5
    """The run stops when more than this share of the rows is rejected."""


class Splits(Section):
    validation: int = Field(200, ge=1)
    """Pairs kept for early stopping."""
    test: int = Field(400, ge=2)
    """Pairs kept for scoring and, under replay, for traffic: those of the first draw."""
    fresh: Share = 0.1
    """Share of the pairs that come later (near none that came before) which join the test set, so that it knows what the data
    became: at most `test` of them in all, and at a time at most half of what is left to that. 0: none."""
    near_duplicate: Share = 0.8
    """Jaccard similarity of word 3-shingles from which two sources must fall in the same split."""


class Curation(Section):
    near_duplicates: Literal["keep", "drop"] = "keep"
    """`drop`: of a cluster of near-duplicate pairs in the train split one stays."""
    length_ratio: float | None = Field(None, gt=1)
    """A pair whose sides differ in characters by more than this factor is rejected."""
    source_language: Language | None = None
    """A pair whose source is in another language is rejected (texts of at least 20 letters: shorter ones tell too little)."""
    target_language: Language | None = None
    """A pair whose target is in another language is rejected."""
    alignment: Share | None = None
    """A pair whose sides translate each other with a lower score (0 to 1, words' association in this very data) is rejected."""
    boilerplate: int | None = Field(None, ge=2)
    """A target that stands in more than this many pairs is rejected beyond that many."""


class Data(Section):
    source: Source
    """Where the pairs come from."""
    extra: tuple[Source, ...] = ()
    """Further sources, read after the first: labels, say."""
    limits: Limits = Limits()
    """What is rejected, and how much of it stops the run."""
    curation: Curation = Curation()
    """What is filtered: pairs that are whole, but that no model should learn from."""
    splits: Splits = Splits()
    """How the pairs are divided; a cluster of near-duplicates never crosses."""
