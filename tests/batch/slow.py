"""A batch in a process of its own whose progress waits, to be killed: python -m tests.batch.slow EXPORT IN OUT"""

import sys
import time
from pathlib import Path

from pipelines import batch
from pipelines.batch import tables
from pipelines.decode import Decoder
from pipelines.filters import Inspector
from pipelines.scrub.detect import Detector
from tests.serving.site import spec


def main() -> None:
    export, source, out = map(Path, sys.argv[1:])
    given = spec(privacy={"level": "patterns", "entities": ["EMAIL_ADDRESS"]})
    inspector = Inspector(given.serving.filters, given.task, "en")
    model = batch.Model("7", Decoder(export), Detector(given.privacy), inspector, given, given.serving.decoding)
    tables.CHUNK = 40
    batch.run(source, out, "text", model, lambda done, _total: time.sleep(0.5 if done >= 120 else 0))


if __name__ == "__main__":
    main()
