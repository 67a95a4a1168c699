"""What people serve the same model with, each as its documentation says, greedy:

    python -m tests.benchmarks.peers fastapi EXPORT PORT        (torch threads in PEER_THREADS)
    python -m tests.benchmarks.peers mlflow EXPORT PORT         (the same)

LitServe stands in litserve_peer.py. `Raw` is CTranslate2 itself, offline: the model and nothing else.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.decode.translator import beams
from tests.benchmarks import served, started

GENERATE = {
    "max_new_tokens": served.MAX_TARGET,
    "min_new_tokens": 1,
    "no_repeat_ngram_size": 3,
    "num_beams": 1,
    "do_sample": False,
}
SCAN = ((512, "tokens"), (1_024, "tokens"), (2_048, "tokens"), (4_096, "tokens"), (16, "examples"), (32, "examples"))


class Raw:
    """translate_batch on all texts at once, their tokens prepared before; on one thread, as the engine."""

    def __init__(self, export: Path, texts: Sequence[str]) -> None:
        import ctranslate2
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(export / "hf" / "tokenizer.json"))
        self._translator = ctranslate2.Translator(str(export / "ct2"), device="cpu", inter_threads=1, intra_threads=1)
        self._sources = [each.tokens for each in self._tokenizer.encode_batch(list(texts))]
        self.batch: tuple[int, str] = SCAN[0]
        self.cpu: list[float] = []

    def scan(self, beam: int, count: int) -> float:
        """Find its best batch size and return its speed there (texts a second)."""
        speeds = {}
        for self.batch in SCAN:
            speeds[self.batch] = max(self.speed(beam, count) for _ in range(2))
        self.batch = max(speeds, key=lambda batch: speeds[batch])
        self.cpu.clear()
        return speeds[self.batch]

    def speed(self, beam: int, count: int) -> float:
        """Texts a second; `cpu` keeps the CPU milliseconds a text."""
        began, before = time.perf_counter(), time.process_time()
        self._translate(beam, count)
        self.cpu.append((time.process_time() - before) * 1_000 / count)
        return count / (time.perf_counter() - began)

    def answers(self, beam: int, count: int) -> list[str]:
        number = self._tokenizer.get_vocab()
        ids = [[number[token] for token in each.hypotheses[0]] for each in self._translate(beam, count)]
        return [text.strip() for text in self._tokenizer.decode_batch(ids, skip_special_tokens=True)]

    def _translate(self, beam: int, count: int) -> Any:
        size, kind = self.batch
        return self._translator.translate_batch(
            self._sources[:count], **beams(beam), max_batch_size=size, batch_type=kind, **served.CTRANSLATE2
        )


def fastapi(export: Path, port: int) -> None:
    import torch
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    torch.set_num_threads(int(os.environ["PEER_THREADS"]))
    tokenizer = AutoTokenizer.from_pretrained(export / "hf")
    model = AutoModelForSeq2SeqLM.from_pretrained(export / "hf").eval()
    application = FastAPI()

    class Asked(BaseModel):
        input: str

    @application.get("/health")
    def health() -> str:
        return "ok"

    @application.post("/predict")
    def predict(asked: Asked) -> dict[str, str]:
        encoded = tokenizer([asked.input], return_tensors="pt", truncation=True, max_length=served.MAX_SOURCE)
        with torch.inference_mode():
            made = model.generate(input_ids=encoded.input_ids, attention_mask=encoded.attention_mask, **GENERATE)
        return {"output": tokenizer.batch_decode(made, skip_special_tokens=True)[0]}

    uvicorn.run(application, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def mlflow(export: Path, port: int) -> None:
    import tempfile

    import mlflow.pyfunc

    folder = Path(tempfile.mkdtemp(prefix="plain-")) / "model"
    code = str(Path(__file__).with_name("plain_pyfunc.py"))
    mlflow.pyfunc.save_model(
        str(folder), python_model=code, artifacts={"hf": str(export / "hf")}, model_config=GENERATE, pip_requirements=[]
    )
    command = ["mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local", "--host", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", *command])


@contextmanager
def serving(name: str, export: Path, folder: Path, *options: str, threads: int = 1) -> Iterator[started.Running]:
    """A peer that answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module = ["tests.benchmarks.litserve_peer"] if name == "litserve" else ["tests.benchmarks.peers", name]
    command = ["-m", *module, str(export.absolute()), str(port), *options]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # mlflow starts uvicorn by its name
    environment = {"PEER_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "PATH": path}
    with started.process(command, folder, **environment) as (process, log):
        url = f"http://127.0.0.1:{port}"
        started.waited(url + ("/ping" if name == "mlflow" else "/health"))
        yield started.Running(url, process, log)


def bodies(name: str, texts: Sequence[str]) -> list[str]:
    return [json.dumps({"inputs": [text]} if name == "mlflow" else {"input": text}) for text in texts]


def text_of(name: str, answer: Any) -> str:
    """The text in a peer's answer, or in ours."""
    if name == "mlflow":
        found = answer["predictions"][0]
    else:
        found = answer["outputs"][0]["text"] if "outputs" in answer else answer["output"]
    return str(found).strip()


if __name__ == "__main__":
    {"fastapi": fastapi, "mlflow": mlflow}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
