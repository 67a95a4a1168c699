"""The last answers, for those who say later what they think of one: in memory, scrubbed, bounded."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.serving.exchange import Call, Output
from pipelines.serving.masking import Marks, marks_of
from pipelines.serving.pairs import Pair

REQUESTS = 2_000
CHARACTERS = 16_000_000


@dataclass
class Remembered:
    """A request that was answered: the `outputs` have placeholders, `marks` know the values of each text by keyed hash."""

    call: Call
    arm: str
    version: str
    outputs: Sequence[Output]
    marks: Sequence[Marks]
    at: float
    seconds: float
    size: int
    told: int = 0

    def pair(self, index: int, **more: object) -> Pair:
        """Its answer number `index`, to be sampled."""
        return pair_of(self.call, self.arm, self.version, self.outputs, index, self.at, self.seconds, **more)


class Recent:
    """Requests by id: the last `requests`, or fewer when their texts have more than `characters`."""

    def __init__(self, requests: int = REQUESTS, characters: int = CHARACTERS) -> None:
        self._requests, self._characters = requests, characters
        self._kept: OrderedDict[str, Remembered] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, call: Call, arm: str, version: str, outputs: Sequence[Output], at: float, seconds: float) -> None:
        size = sum(map(len, call.texts)) + sum(len(output.text) for output in outputs)
        marks = [marks_of(values) for values in call.values] or [{} for _ in call.texts]
        bare = Call(call.request, "", call.user_hmac, call.arrived, call.decoding, call.texts)  # the key may be a raw text
        if (before := self._kept.pop(call.request, None)) is not None:
            self._size -= before.size
        self._kept[call.request] = Remembered(bare, arm, version, outputs, marks, at, seconds, size)
        self._size += size
        while len(self._kept) > self._requests or self._size > self._characters:
            self._size -= self._kept.popitem(last=False)[1].size

    def get(self, request: str) -> Remembered | None:
        return self._kept.get(request)


def pair_of(
    call: Call, arm: str, version: str, outputs: Sequence[Output], index: int, at: float, seconds: float, **more: object
) -> Pair:
    """The answer number `index` of a request, as it goes to the judge and to review."""
    output = outputs[index]
    return Pair(
        call.request, call.user_hmac, arm, version, bool(more.pop("shadow", False)), call.texts[index], output.text, at,
        index=index, seconds=seconds, tokens_in=output.source_tokens, tokens_out=output.target_tokens, logprob=output.logprob,
        decoding=call.decoding.model_dump(exclude_none=True), flags=list(output.flags), **more,  # type: ignore[arg-type]
    )  # fmt: skip
