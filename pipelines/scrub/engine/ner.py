"""spaCy's named entities, from spaCy's own weights, computed in a few large matrices for many texts at once.

A pipeline such as en_core_web_sm finds entities with a network of its own (hash embedding, four maxout convolutions) and
greedy BILUO transitions. Two facts make it several times as fast, with the same entities:
- outside an entity the next move depends on the token alone, so that it is one matrix product for all tokens of all texts;
  only inside an entity is there a walk, and all entities walk at once;
- the parser matters to the entities in one way: none crosses the start of a sentence. So only texts with an entity of two
  or more tokens are parsed, and the moves are chosen anew if one did cross.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.scrub.engine.convolution import Convolution, Floats

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]


class Entity(NamedTuple):
    """Tokens [start, end) of a text carry the model's `label`."""

    start: int
    end: int
    label: str


class Ner:
    """The `ner` of a spaCy pipeline, without the pipeline.

    Raises:
        ValueError: the pipeline is of another make; run it as it is.
    """

    def __init__(self, nlp: Any) -> None:
        self._nlp = nlp
        ner = nlp.get_pipe("ner")
        if ner.cfg["beam_width"] != 1 or ner.model.attrs["unseen_classes"] or not ner.model.attrs["has_upper"]:
            raise ValueError("not a greedy transition-based recognizer")
        before, self._lower, self._upper = ner.model.layers
        tok2vec, _, self._linear = before.layers
        self._convolution = Convolution(nlp, tok2vec)
        self._moves = _Moves([ner.moves.get_class_name(move) for move in range(ner.moves.n_moves)])
        self._parser = Parser(nlp)

    def find(self, docs: Sequence[Any]) -> list[list[Entity]]:
        """The entities of tokenized texts."""
        docs_with_tokens = [doc for doc in docs if len(doc)]
        if not docs_with_tokens:
            return [[] for _ in docs]
        states = self._states(docs_with_tokens)
        found = self._moves.walk(states)
        long = [index for index, entities in enumerate(found) if any(entity.end - entity.start > 1 for entity in entities)]
        self._parser.parse([docs_with_tokens[index] for index in long])
        if states.bound([found[index] for index in long], long, docs_with_tokens):
            found = self._moves.walk(states)
        entities = iter(found)
        return [next(entities) if len(doc) else [] for doc in docs]

    def lemmatize(self, docs: Sequence[Any]) -> None:
        """Set the lemmas of tokenized texts."""
        self._parser.lemmatize(docs)

    def _states(self, docs: Sequence[Any]) -> "_States":
        vectors = self._convolution.of(docs) @ self._linear.get_param("W").T + self._linear.get_param("b")
        weights = self._lower.get_param("W")  # (3 features, hidden, 2 pieces, in)
        features = (vectors @ weights.reshape(-1, weights.shape[-1]).T).reshape(len(vectors), weights.shape[0], -1)
        pad = self._lower.get_param("pad")[0].reshape(weights.shape[0], -1)
        lengths = np.array([len(doc) for doc in docs])
        last = np.zeros(len(vectors), bool)
        last[np.cumsum(lengths) - 1] = True
        space = np.concatenate([doc.to_array("IS_SPACE") for doc in docs]).astype(bool)
        bias = self._lower.get_param("b").reshape(-1)
        return _States(
            features,
            pad,
            bias,
            self._upper.get_param("W"),
            self._upper.get_param("b"),
            np.cumsum(lengths) - lengths,
            last,
            space,
        )


@dataclass
class _States:
    """What the moves at every token of a batch depend on."""

    features: Floats  # (tokens, 3, hidden x 2): the token as the next one, as the entity's first, as the one before
    pad: Floats  # (3, hidden x 2): stands for a token that is not there
    bias: Floats
    upper: Floats  # (moves, hidden)
    upper_bias: Floats
    starts: Numbers  # of each text's first token
    closing: Mask  # (tokens): an entity that reaches this token ends here: the text or a sentence does
    space: Mask

    def scores_outside(self) -> Floats:
        summed = self.features[:, 0] + (self.pad[1] + self.pad[2] + self.bias)
        return np.asarray(_maxout(summed) @ self.upper.T + self.upper_bias)

    def hidden_inside(self, first: Numbers, now: Numbers) -> Floats:
        return _maxout(self.features[now, 0] + self.features[first, 1] + self.features[now - 1, 2] + self.bias)

    def bound(self, found: Sequence[Sequence[Entity]], indices: Sequence[int], docs: Sequence[Any]) -> bool:
        """Let no entity cross the start of a sentence; whether one of those in `found` did."""
        crossed = False
        for entities, index in zip(found, indices, strict=True):
            opens = docs[index].to_array("SENT_START") == 1
            if any(opens[entity.start + 1 : entity.end].any() for entity in entities):
                crossed = True
                offset = self.starts[index]
                self.closing[offset : offset + len(opens) - 1] |= opens[1:]
        return crossed


def _maxout(summed: Floats) -> Floats:
    return np.maximum(summed[:, 0::2], summed[:, 1::2])


class _Moves:
    """Greedy BILUO: at each token the best move that is allowed there."""

    def __init__(self, names: Sequence[str]) -> None:
        self._outside = names.index("O")
        self._labels = [name[2:] for name in names]
        self._single = np.array([name.startswith("U-") and len(name) > 2 for name in names])
        self._begin = np.array([name.startswith("B-") for name in names])
        by_name = {name: move for move, name in enumerate(names)}
        self._inner = np.array([by_name.get(f"I-{label}", -1) for label in self._labels])
        self._last = np.array([by_name.get(f"L-{label}", -1) for label in self._labels])

    def walk(self, states: _States) -> list[list[Entity]]:
        """The entities of each text."""
        scores = states.scores_outside()
        allowed = self._single | self._begin
        allowed[self._outside] = True
        scores[:, ~allowed] = -np.inf
        scores[np.ix_(states.closing, self._begin)] = -np.inf
        scores[np.ix_(states.space, self._single | self._begin)] = -np.inf
        moves = scores.argmax(axis=1)
        ends = np.arange(1, len(moves) + 1)
        first = np.flatnonzero(self._begin[moves])
        ends[first] = self._ends(states, first, moves[first])
        return self._collect(states.starts, moves, ends)

    def _ends(self, states: _States, first: Numbers, moves: NDArray[Any]) -> Numbers:
        """Where (exclusively) each entity that begins at a token of `first` ends, all of them a token further a turn."""
        inner, last = self._inner[moves], self._last[moves]
        ends = np.zeros(len(first), np.int64)
        open_ = np.arange(len(first))
        now = first + 1
        while len(open_):
            hidden = states.hidden_inside(first[open_], now)
            more = np.einsum("ij,ij->i", hidden, states.upper[inner[open_]]) + states.upper_bias[inner[open_]]
            stop = np.einsum("ij,ij->i", hidden, states.upper[last[open_]]) + states.upper_bias[last[open_]]
            over = (stop > more) | states.closing[now]
            ends[open_[over]] = now[over] + 1
            open_, now = open_[~over], now[~over] + 1
        return ends

    def _collect(self, starts: Numbers, moves: NDArray[Any], ends: Numbers) -> list[list[Entity]]:
        found: list[list[Entity]] = [[] for _ in starts]
        candidates = np.flatnonzero(moves != self._outside)
        texts = np.searchsorted(starts, candidates, side="right") - 1
        free = 0
        for token, text in zip(candidates.tolist(), texts.tolist(), strict=True):
            if token >= free:  # not inside the entity before
                free = int(ends[token])
                offset = int(starts[text])
                found[text].append(Entity(token - offset, free - offset, self._labels[moves[token]]))
        return found


class Parser:
    """The parts of a spaCy pipeline that share its `tok2vec`: the parser, and what the lemmas need."""

    def __init__(self, nlp: Any) -> None:
        self._nlp = nlp
        self._convolution = Convolution(nlp, nlp.get_pipe("tok2vec").model)
        width = nlp.get_pipe("tok2vec").model.get_dim("nO")
        listening = [name for name in ("parser", "tagger", "morphologizer") if name in nlp.pipe_names]
        for name in listening:
            listeners = [node for node in nlp.get_pipe(name).model.walk() if node.name == "tok2vec-listener"]
            if not listeners or listeners[0].get_dim("nO") != width:
                raise ValueError(f"{name} has a network of its own")

    def parse(self, docs: Sequence[Any]) -> None:
        """Set the sentences of tokenized texts."""
        if docs:
            self._convolve(docs)
            parser = self._nlp.get_pipe("parser")
            parser.set_annotations(docs, parser.predict(docs))

    def lemmatize(self, docs: Sequence[Any]) -> None:
        """Set the lemmas of tokenized texts, as the full pipeline sets them."""
        docs = [doc for doc in docs if len(doc)]
        if not docs:
            return
        self.parse([doc for doc in docs if not doc.has_annotation("DEP")])
        for name, pipe in self._nlp.pipeline:
            if name in ("tok2vec", "parser", "ner"):
                continue
            if hasattr(pipe, "predict"):
                pipe.set_annotations(docs, pipe.predict(docs))
            else:
                for doc in docs:
                    pipe(doc)

    def _convolve(self, docs: Sequence[Any]) -> None:
        new = [doc for doc in docs if not doc.tensor.size]
        if not new:
            return
        rows = self._convolution.of(new)
        start = 0
        for doc in new:
            doc.tensor = rows[start : start + len(doc)]
            start += len(doc)


class Whole:
    """A spaCy pipeline of any other make (a transformer, word vectors, beams), run as it is."""

    def __init__(self, nlp: Any) -> None:
        self._nlp = nlp

    def find(self, docs: Sequence[Any]) -> list[list[Entity]]:
        """The entities of tokenized texts."""
        return [[Entity(each.start, each.end, each.label_) for each in doc.ents] for doc in self._nlp.pipe(docs, batch_size=64)]

    def lemmatize(self, docs: Sequence[Any]) -> None:
        """Set the lemmas of tokenized texts; `find` has done so already where it ran."""
        for _ in self._nlp.pipe([doc for doc in docs if not doc.has_annotation("LEMMA")], batch_size=64):
            pass


def tagger_of(nlp: Any) -> "Ner | Whole":
    """The fastest way to run a pipeline that gives its own entities and lemmas."""
    try:
        return Ner(nlp)
    except (ValueError, KeyError, AttributeError):
        return Whole(nlp)
