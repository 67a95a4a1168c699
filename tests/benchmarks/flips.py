"""Random bit flips over a project's data, DVC cache and remote, each looked for through the door that would use the bytes.

Current version: `versions.check`, before a training. Older version, or a fresh clone: `versions.restore`. A flip counts as
found when the door refuses and names a file, or repairs and gives the right bytes. The peer is DVC's own checkout.
"""

import json
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pipelines import dataset
from pipelines.artifact import Corrupt, Dataset
from pipelines.dataset import versions
from pipelines.errors import SeqlineError
from tests.dataset.project import damage, make_dataset, make_repo, snapshot

PLACES = ("data", ".dvc/cache", ".seqline/dvc")


@dataclass(frozen=True)
class Site:
    """A project with two versions of data/one, the first of them `old`."""

    repo: Path
    made: tuple[Dataset, Dataset]
    old: str
    new: str


def build(folder: Path) -> Site:
    repo = make_repo(folder / "repo")
    made = (make_dataset(folder / "work", range(20)), make_dataset(folder / "work", range(25)))
    old, new = (dataset.publish(each, "one", repo).md5 for each in made)
    return Site(repo, made, old, new)


def flip(site: Site, draw: random.Random) -> Path:
    """Flip one bit of one file, each byte of the three places as likely as any other; its size, mode and times stay."""
    files = sorted(path for place in PLACES for path in (site.repo / place).rglob("*") if path.is_file())
    path = draw.choices(files, [each.stat().st_size for each in files])[0]
    damage(path, draw.randrange(path.stat().st_size))
    return path


def found(site: Site) -> bool:
    """Whether the doors notice that something changed: `check` refuses, or the old version does not come back as it was."""
    try:
        versions.check(site.made[1], "one", site.repo)
    except Corrupt:
        return True
    return not all(_comes_back(site, place) for place in (".dvc/cache", ".seqline/dvc"))


def _comes_back(site: Site, place: str) -> bool:
    """Whether the old version can be had from one place alone, every byte right: where it cannot, the door must say so."""
    clone = site.repo.with_name("clone")
    clone.mkdir()
    try:
        shutil.copy(site.repo / "data.dvc", clone)
        shutil.copytree(site.repo / ".dvc", clone / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
        shutil.copytree(site.repo / place, clone / place)
        versions.restore("one", site.old, clone)
        if snapshot(clone / "data/one") != snapshot(site.made[0].path):
            raise AssertionError("a damaged version was brought back as if it were whole")
    except SeqlineError:
        return False
    finally:
        shutil.rmtree(clone)
    return True


def run(count: int, seed: int) -> tuple[int, dict[str, int]]:
    """(flips found, flips by place) of `count`."""
    draw = random.Random(seed)
    seen = 0
    places = dict.fromkeys(PLACES, 0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        site = build(folder)
        shutil.copytree(site.repo, folder / "whole")
        for _ in range(count):
            path = flip(site, draw)
            places[next(place for place in PLACES if path.is_relative_to(site.repo / place))] += 1
            seen += found(site)
            shutil.rmtree(site.repo)
            shutil.copytree(folder / "whole", site.repo)
        if found(site):
            raise AssertionError("a flip is found where there is none")
    return seen, places


def main(count: int = 1_000) -> None:
    started = time.process_time()
    seen, places = run(count, seed=3)
    told = {"claim": "bit flips found before use", "ours": seen, "of": count, "places": places, "holds": seen == count}
    out = Path(".seqline/bench/flips.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([told], indent=1))
    cpu = time.process_time() - started
    Console().print(f"{seen}/{count} flips found before use ({places}); {cpu:.0f} CPU s; written to {out}", markup=False)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
