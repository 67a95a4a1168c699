"""The same CTranslate2 model behind LitServe, batched as its documentation says:

python -m tests.benchmarks.litserve_peer EXPORT PORT MAX_BATCH BATCH_TIMEOUT FAST_QUEUE BEAM
"""

import sys
from pathlib import Path
from typing import Any

import litserve as ls  # type: ignore[import-untyped]

from pipelines.decode.translator import beams
from tests.benchmarks import served


class Summarizer(ls.LitAPI):  # type: ignore[misc]
    """Tokenises, decodes and detokenises a batch; the class stands at the top since LitServe pickles it into its worker."""

    def __init__(self, export: Path, beam: int, **options: Any) -> None:
        super().__init__(**options)
        self.export, self.beam = export, beam

    def setup(self, _device: str) -> None:
        import ctranslate2
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(self.export / "hf" / "tokenizer.json"))
        self.tokenizer.enable_truncation(served.MAX_SOURCE)
        self.number = self.tokenizer.get_vocab()
        self.translator = ctranslate2.Translator(str(self.export / "ct2"), device="cpu", inter_threads=1, intra_threads=1)

    def decode_request(self, request: dict[str, str], **_: Any) -> str:
        return request["input"]

    def predict(self, texts: list[str], **_: Any) -> list[str]:
        sources = [each.tokens for each in self.tokenizer.encode_batch(list(texts))]
        # sorted by length, 16 at a time: what suits Raw best
        made = self.translator.translate_batch(
            sources, max_batch_size=16, **beams(self.beam), **served.CTRANSLATE2
        )  # fmt: skip
        ids = [[self.number[token] for token in each.hypotheses[0]] for each in made]
        answers: list[str] = self.tokenizer.decode_batch(ids, skip_special_tokens=True)
        return answers

    def encode_response(self, answer: str, **_: Any) -> dict[str, str]:
        return {"output": answer}


def main() -> None:
    export, port, most, wait, fast_queue, beam = sys.argv[1:]
    api = Summarizer(Path(export), int(beam), max_batch_size=int(most), batch_timeout=float(wait))
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=60, fast_queue=fast_queue == "1")
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
