"""A process that publishes two datasets in turn, for ever, and says each time that one went through; to be killed."""

import sys
from pathlib import Path

from pipelines import artifact, dataset
from pipelines.artifact import Dataset


def main(repo: Path, folders: list[Path]) -> None:
    made = [artifact.existing(Dataset, folder) for folder in folders]
    while True:
        for each in made:
            assert each
            dataset.publish(each, "one", repo)
            sys.stdout.write("published\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]])
