"""What people log to MLflow for a summarizer: a pyfunc (models from code) around transformers.generate, and nothing else."""

import os
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Plain(PythonModel):
    def load_context(self, context: PythonModelContext) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        torch.set_num_threads(int(os.environ["PEER_THREADS"]))
        self.tokenizer = AutoTokenizer.from_pretrained(context.artifacts["hf"])
        self.model = AutoModelForSeq2SeqLM.from_pretrained(context.artifacts["hf"]).eval()
        self.options: dict[str, Any] = dict(context.model_config)

    def predict(self, model_input: list[str], params: dict[str, Any] | None = None) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        import torch

        encoded = self.tokenizer(model_input, return_tensors="pt", padding=True, truncation=True, max_length=128)
        with torch.inference_mode():
            made = self.model.generate(input_ids=encoded.input_ids, attention_mask=encoded.attention_mask, **self.options)
        answers: list[str] = self.tokenizer.batch_decode(made, skip_special_tokens=True)
        return answers


set_model(Plain())
