"""A small real line for the tests: pairs with a pattern to learn -> Dataset -> Tokens -> Weights -> Export."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import artifact
from pipelines.artifact import Dataset, Export, Tokens, Weights
from pipelines.encode import encode
from pipelines.spec import Architecture, TokensSection, Training
from pipelines.training.export import export
from pipelines.training.fit import fit

PLACEHOLDERS = ("<PERSON_1>", "<PERSON_2>", "<EMAIL_ADDRESS_1>")
SECTION = TokensSection(vocabulary=400, max_source=48, max_target=12)
TRAINING = Training(
    architecture=Architecture(width=32, heads=2, encoder_layers=1, decoder_layers=1),
    steps=60,
    batch_tokens=512,
    checkpoint_steps=10,
    validate_steps=20,
)


def pairs(count: int, seed: int) -> dict[str, list[str]]:
    rng = random.Random(seed)
    rows: dict[str, list[str]] = {"id": [], "source": [], "target": []}
    for number in range(count):
        kind, what = (
            rng.choice(("library", "tool", "daemon")),
            rng.choice(("images", "mail", "größe", "fonts", "sound", "maps")),
        )
        rows["id"].append(f"{seed:08x}{number:08x}")
        about = " ".join(rng.choice(("fast", "small", "old", "portable")) for _ in range(rng.randint(1, 9)))
        rows["source"].append(
            f"Maintainer: <PERSON_1> <<EMAIL_ADDRESS_1>>\nDescription: a {kind} that is {about} and reads {what}"
        )
        rows["target"].append(f"{kind} for {what} by <PERSON_1>")
    return rows


def dataset(out: Path, train: int = 120) -> Dataset:
    def write(folder: Path) -> None:
        for name, count, seed in (("train", train, 1), ("validation", 20, 2), ("test", 20, 3)):
            pq.write_table(pa.table(pairs(count, seed)), folder / f"{name}.parquet")

    return artifact.make(Dataset, out / f"dataset-{train}", write)


def encoded(out: Path) -> Tokens:
    return encode(dataset(out), SECTION, PLACEHOLDERS, None, out)


def trained(out: Path, training: Training = TRAINING) -> Weights:
    return fit(encoded(out), training, None, out)


def exported(out: Path, quantisation: str = "int8", training: Training = TRAINING) -> Export:
    return export(trained(out, training), quantisation, out)
