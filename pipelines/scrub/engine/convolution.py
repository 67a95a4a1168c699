"""spaCy's `Tok2Vec` (hash embedding and maxout convolutions) from its own weights, in blocks of one shape.

The vectors are those of spaCy up to rounding, and the same whatever texts stand beside each other: every matrix product has
the same shape.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BLOCK = 256  # rows in a matrix product: its input and output stay in the processor's cache
GAP = 4  # rows of zeros between texts, as in spaCy (the depth of the network), so that none sees its neighbour
MIXERS = np.random.default_rng(0).integers(1, 2**63, 32, dtype=np.uint64) * np.uint64(2) + np.uint64(1)  # hash a row to 64 bits
SAMPLE = "Maria Lee (born 1970) wrote v2.0 of foo-bar.\n\n  It's at https://example.org/x, naïve café № 5!"


class Convolution:
    """Maxout convolutions of window 1 over a hash embedding: MultiHashEmbed and MaxoutWindowEncoder.

    Raises:
        ValueError: the network is of another make, or its vectors are not spaCy's.
    """

    def __init__(self, nlp: Any, model: Any) -> None:
        try:
            embed, encode = model.layers
            extract, _, hashed, _, _ = embed.layers
            self._columns = extract.attrs["columns"]
            self._hashed = hashed.layers[0]
            maxouts = [node for node in model.walk() if node.name == "maxout"]
            norms = [node for node in model.walk() if node.name == "layernorm"]
            windows = [node.attrs["window_size"] for node in encode.walk() if node.name == "expand_window"]
        except (ValueError, KeyError, IndexError) as error:
            raise ValueError(f"no network that is known here: {error}") from None
        if windows != [1] * GAP or len(maxouts) != len(norms) or len(maxouts) != GAP + 1:
            raise ValueError("no network that is known here")
        self._layers = [_Layer(maxout, norm) for maxout, norm in zip(maxouts, norms, strict=True)]
        doc = nlp.make_doc(SAMPLE)
        if not np.allclose(self.of([doc]), model.predict([doc])[0], atol=1e-4):
            raise ValueError("the vectors are not spaCy's")

    def of(self, docs: Sequence[Any]) -> Floats:
        """A row for each token of the texts, in order."""
        attributes = np.concatenate([doc.to_array(self._columns).reshape(len(doc), -1) for doc in docs])
        # a word's vector does not depend on where it stands: a third of the tokens are words not met before in a batch
        mixed = (attributes * MIXERS[: attributes.shape[1]]).sum(axis=1, dtype=np.uint64)
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        words = self._layers[0].of(self._hashed.predict(attributes[first]))
        lengths = [len(doc) for doc in docs]
        places = np.concatenate([np.arange(length) + start for length, start in zip(lengths, _offsets(lengths), strict=True)])
        rows = np.zeros((sum(lengths) + GAP * (len(docs) + 1), words.shape[1]), np.float32)
        rows[places] = words[inverse]
        for layer in self._layers[1:]:
            rows = layer.convolve(rows)
        return np.ascontiguousarray(rows[places])


def _offsets(lengths: Sequence[int]) -> list[int]:
    starts, start = [], GAP
    for length in lengths:
        starts.append(start)
        start += length + GAP
    return starts


class _Layer:
    """Maxout over three linear pieces, then layer normalisation."""

    def __init__(self, maxout: Any, norm: Any) -> None:
        weights = maxout.get_param("W")  # (out, pieces, in)
        self._out, self._pieces, self._in = weights.shape
        self._weights = np.ascontiguousarray(weights.transpose(2, 1, 0).reshape(self._in, -1))
        self._bias = maxout.get_param("b").T.reshape(-1).copy()
        self._scale, self._shift = norm.get_param("G"), norm.get_param("b")

    def of(self, rows: Floats) -> Floats:
        out = np.empty((len(rows), self._out), np.float32)
        block = np.zeros((BLOCK, self._in), np.float32)
        for start in range(0, len(rows), BLOCK):
            count = min(BLOCK, len(rows) - start)
            block[:count] = rows[start : start + count]
            out[start : start + count] = self._block(block)[:count]
        return out

    def convolve(self, rows: Floats) -> Floats:
        """Each row with its two neighbours, added to the row itself."""
        width = rows.shape[1]
        padded = np.zeros((len(rows) + 2, width), np.float32)
        padded[1:-1] = rows
        out = np.empty_like(rows)
        block = np.zeros((BLOCK, self._in), np.float32)
        for start in range(0, len(rows), BLOCK):
            count = min(BLOCK, len(rows) - start)
            for side in range(3):
                block[:count, side * width : (side + 1) * width] = padded[start + side : start + side + count]
            np.add(self._block(block)[:count], rows[start : start + count], out=out[start : start + count])
        return out

    def _block(self, block: Floats) -> Floats:
        pieces = block @ self._weights
        pieces += self._bias
        best = pieces[:, : self._out]
        for piece in range(1, self._pieces):
            best = np.maximum(best, pieces[:, piece * self._out : (piece + 1) * self._out])
        best = best - best.mean(axis=1, keepdims=True)
        best *= 1 / np.sqrt(np.einsum("ij,ij->i", best, best)[:, None] / self._out + 1e-8)
        best *= self._scale
        best += self._shift
        return np.asarray(best)
