"""Random byte flips over the folder of a signed model, each looked for by loading it. The peer is transformers' own loading.

Half of the flips choose among all bytes alike (most fall on weights), half among files alike, so that small files have their
share. The peer loads from hf/ what falls there, `PEER` of them, as its documentation shows.
"""

import contextlib
import io
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console

from pipelines import signature
from pipelines.decode import Decoder
from pipelines.errors import SeqlineError
from pipelines.spec import Decoding
from tests.training import line

PEER = 100


def build(scratch: Path) -> tuple[Path, Path]:
    """A signed export and the public key."""
    folder = Path(shutil.copytree(line.exported(scratch / "work").path, scratch / "export"))
    key, public = scratch / "signing.key", scratch / "signing.pub"
    signature.make_key(key)
    public.write_bytes(signature.public_pem(key))
    signature.sign(folder, key)
    return folder, public


def flip(folder: Path, draw: random.Random, by_bytes: bool) -> tuple[Path, bytes]:
    """Change one byte to another value; returns where, and what the file held."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = draw.choices(files, [each.stat().st_size for each in files] if by_bytes else None)[0]
    whole = path.read_bytes()
    data = bytearray(whole)
    data[draw.randrange(len(data))] ^= draw.randrange(1, 256)
    path.write_bytes(data)
    return path, whole


def refused(folder: Path, public: Path) -> bool:
    try:
        Decoder(folder, signer=public).generate(["a tool that reads maps"], Decoding(max_tokens=2))
    except SeqlineError as error:
        if folder.name not in str(error):
            raise AssertionError("a refusal that names nothing") from error
        return True
    return False


def refused_by_peer(hf: Path) -> bool:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            AutoTokenizer.from_pretrained(hf)
            AutoModelForSeq2SeqLM.from_pretrained(hf)
    except Exception:
        return True
    return False


def run(count: int, seed: int) -> tuple[Counter[str], Counter[str], Counter[bool]]:
    """Flips and refusals by file; and, True or False, what the peer said to its share."""
    draw = random.Random(seed)
    flips: Counter[str] = Counter()
    found: Counter[str] = Counter()
    theirs: Counter[bool] = Counter()
    with tempfile.TemporaryDirectory() as name:
        folder, public = build(Path(name))
        for number in range(count):
            path, whole = flip(folder, draw, by_bytes=number % 2 == 0)
            place = path.relative_to(folder).as_posix()
            flips[place] += 1
            found[place] += refused(folder, public)
            if place.startswith("hf/") and theirs.total() < PEER:
                theirs[refused_by_peer(folder / "hf")] += 1
            path.write_bytes(whole)
        if refused(folder, public) or refused_by_peer(folder / "hf"):
            raise AssertionError("the whole folder is refused")
    return flips, found, theirs


def main(count: int = 1_000) -> None:
    import transformers

    logging.getLogger("transformers").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    started = time.process_time()
    flips, found, theirs = run(count, seed=4)
    ours, peer = found.total() / count, theirs[True] / max(theirs.total(), 1)
    told = {
        "claim": "byte flips over a model folder that are refused",
        "ours": ours,
        "peer": peer,
        "peer_name": f"transformers {transformers.__version__} from_pretrained, {theirs.total()} flips in hf/",
        "unit": "share",
        "ratio": ours / peer if peer else None,
        "goal": 1.0,
        "holds": found.total() == count,
        "runs": count,
        "spread": {place: f"{found[place]}/{times}" for place, times in sorted(flips.items())},
    }
    out = Path(".seqline/bench/model_flips.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([told], indent=1))
    console = Console()
    for place, times in sorted(flips.items()):
        console.print(f"  {place:32} {found[place]:4} of {times:4}", markup=False)
    cpu = time.process_time() - started
    line_ = (
        f"{found.total()}/{count} flips refused; {told['peer_name']}: {theirs[True]} refused; {cpu:.0f} CPU s; written to {out}"
    )
    console.print(line_, markup=False)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
