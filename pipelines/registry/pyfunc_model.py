"""Models-from-code: the file that MLflow copies beside an exported model and runs to load it.

Input and output are scrubbed text: personal data already replaced by the placeholders that policy/privacy.json names.
"""

from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Seq2Seq(PythonModel):
    def load_context(self, context: PythonModelContext) -> None:
        from pipelines.decode import Decoder
        from pipelines.spec import Decoding

        self.decoder = Decoder(Path(context.artifacts["export"]))
        self.decoding = Decoding.model_validate(context.model_config["decoding"])

    # MLflow makes the signature from these hints, and accepts this form without `context`, which its base class does not show.
    def predict(self, model_input: list[str], params: dict[str, Any] | None = None) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        return [answer.text for answer in self.decoder.generate(model_input, self.decoding)]


set_model(Seq2Seq())
