"""Real text for benchmarks, fetched into .seqline/bench/ and never committed: it holds the names of real people.

stanzas     Debian control stanzas with their long descriptions, from the apt index
changelogs  entries of Debian changelogs: of this machine's packages, and of more from the mirror
labelled    presidio-research's 1,500 synthetic texts with their gold spans (MIT), out of a PyPI sdist
"""

import gzip
import hashlib
import json
import re
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from pipelines.errors import Transient
from pipelines.scrub.spans import Span
from pipelines.sources import debian
from pipelines.spec import DebianSource

CACHE = Path(".seqline/bench")
EVALUATOR = "presidio_evaluator-0.3.2"
# packages with long changelogs by many hands; their binary packages are small
CHANGELOGS = (
    "apt", "base-files", "bash", "cron", "debconf", "debhelper", "dpkg", "e2fsprogs", "exim4-base", "grep", "gzip",
    "init-system-helpers",
    "lintian", "lsb-base", "man-db", "mutt", "ncurses-base", "openssh-client", "passwd", "po-debconf", "procps",
    "python3-defaults",
    "reportbug", "sudo", "sysvinit-utils", "tar", "tzdata", "ucf", "util-linux", "wget", "xterm", "zsh-common",
)  # fmt: skip
TRAILER = re.compile(r"^ -- (?P<name>[^<\n]*?) <[^>\n]*>", re.MULTILINE)


class Labelled(NamedTuple):
    """A text with its gold spans; `template` numbers the sentence pattern that it was made from."""

    text: str
    spans: tuple[Span, ...]
    template: int


def stanzas(n: int) -> list[str]:
    """`n` control stanzas (Package, Section, Maintainer, Homepage, long description), chosen by the hash of their text."""
    root = CACHE / "apt"
    debian.refresh(root)
    source = DebianSource(kind="debian", max_chars=10**9, description_chars=4_000)
    texts = {stanza for stanza, *_ in debian.read(source, root, Counter())}
    return _pick(texts, n)


def changelogs(n: int) -> list[str]:
    """`n` changelog entries, trailer line included, chosen by the hash of their text."""
    folder = CACHE / "changelogs"
    if not folder.exists():
        _fetch_changelogs(folder)
    logs = [*sorted(Path("/usr/share/doc").glob("*/changelog*.gz")), *sorted(folder.rglob("changelog*.gz"))]
    texts = {entry for path in logs for entry in _entries(gzip.decompress(path.read_bytes()).decode("utf-8", "replace"))}
    return _pick(texts, n)


def signer(entry: str) -> tuple[int, int] | None:
    """Where a changelog entry's trailer (`-- Name <mail>`) names its author: a person's name that is known for certain."""
    found = TRAILER.search(entry)
    name = found["name"] if found else ""
    if not found or " " not in name or debian.GROUP.search(name):
        return None
    return found.span("name")


def labelled() -> list[Labelled]:
    """presidio-research's `synth_dataset_v2.json`: 1,500 texts whose entities have Presidio-like names of their own."""
    sdist = CACHE / f"{EVALUATOR}.tar.gz"
    if not sdist.exists():
        # uv makes environments without pip: the system's own does the download
        pip = ["python3", "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps"]
        subprocess.run([*pip, "-d", str(CACHE), "presidio-evaluator==0.3.2"], check=True)
    with tarfile.open(sdist) as archive:
        member = archive.extractfile(f"{EVALUATOR}/data/synth_dataset_v2.json")
        assert member is not None
        rows = json.load(member)
    return [
        Labelled(
            row["full_text"],
            tuple(Span(span["start_position"], span["end_position"], span["entity_type"], 1.0) for span in row["spans"]),
            row["template_id"],
        )
        for row in rows
    ]


def _pick(texts: set[str], n: int) -> list[str]:
    chosen = sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())[:n]
    assert len(chosen) == n, f"{n} texts are wanted and {len(chosen)} are there"
    return chosen


def _entries(log: str) -> list[str]:
    """The entries of a changelog in Debian's form: a heading `package (version) suite; urgency=...` up to its trailer."""
    found = re.findall(r"^\S+ \([^)\n]+\) [^\n]*;[^\n]*\n.*?^ -- [^\n]*$", log, re.MULTILINE | re.DOTALL)
    return [entry for entry in found if len(entry) <= 4_000]


def _fetch_changelogs(folder: Path) -> None:
    root = CACHE / "apt"
    debian.refresh(root)
    building = folder.with_suffix(".building").absolute()
    building.mkdir(parents=True, exist_ok=True)
    conf = str((root / "apt.conf").absolute())
    for package in CHANGELOGS:
        apt = ["apt-get", "-q", "-c", conf, "-o", "APT::Sandbox::User=root", "download", package]
        subprocess.run(apt, cwd=building, capture_output=True, check=False)  # one that this release lacks is left out
    archives = sorted(building.glob("*.deb"))
    if not archives:
        raise Transient("changelogs: no package could be fetched from the mirror")
    for archive in archives:
        subprocess.run(["dpkg-deb", "-x", str(archive), str(building / archive.stem)], check=True)
        archive.unlink()
    building.rename(folder)
