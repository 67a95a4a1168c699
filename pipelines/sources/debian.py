"""Debian's package descriptions, read through a private apt root: nothing of the system is touched, no root is needed."""

import hashlib
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from email.utils import parseaddr
from pathlib import Path

from pipelines.artifact import digest, file_sha256
from pipelines.errors import Transient, UserError
from pipelines.sources.rows import Cells, Part, Reading
from pipelines.spec import DebianSource

FRESH = 600  # seconds an index counts as fresh; Debian's mirrors move four times a day
WANTED = frozenset(("Package", "Section", "Maintainer", "Homepage", "Description", "Description-md5", "Description-en"))
# A minimal image sets Languages to "none", which only #clear undoes. The system's own hooks must not run for a private root.
CONF = """#clear Acquire::Languages;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Acquire::Languages {{ {languages} }};
Acquire::Retries "1";
Acquire::http::Timeout "20";
APT::Update::Error-Mode "any";
Dir::State::Lists "{root}/lists";
Dir::Cache "{root}/cache";
"""
# Words and addresses by which a maintainer is plainly no one person. What they miss counts as a person: the recall that is
# measured is then, if anything, too strict.
GROUP = re.compile(
    r"(?i)\b(team|group|groups|maintainers?|maint|project|developers?|devel|packagers?|packaging|list|force|foundation|"
    r"community|addons|tools|archive|research|debian|ubuntu|gnu)\b"
)
LIST = re.compile(
    r"(?i)^team\+|@(lists?|alioth-lists|tracker|packages|bugs|qa|security)\.|@googlegroups\.|(-|\.)(devel|list|team)@"
)


def reading(source: DebianSource, root: Path) -> Reading:
    """One part: the slice, by the index. Raises as `refresh`."""
    inputs = refresh(root)

    def rows(dropped: Counter[str]) -> Iterator[Cells]:
        for number, (text, synopsis, values) in enumerate(read(source, root, dropped), 1):
            yield Cells(number, (text, synopsis), values)

    part = Part(key=digest("debian", source, inputs), name="debian", read=rows, unit="stanza", size=2 * source.max_chars)
    return Reading(inputs, [part])


def refresh(root: Path, languages: Sequence[str] = ("en",)) -> Mapping[str, str]:
    """Bring the index in `root` up to date and return {index file: sha256}. About a second when nothing changed.

    `languages` are those of the descriptions.

    An index that cannot be refreshed is used as it is, and the run says so in a line.

    Raises:
        UserError: this machine has no apt. Transient: there is no index yet and none could be fetched.
    """
    if not shutil.which("apt-get"):
        raise UserError(
            "data.source.kind: debian needs apt, which this machine lacks: train models/localize-de.yaml, which needs none, "
            "or use `kind: files` with data of your own"
        )
    for folder in ("lists/partial", "cache"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    conf, stamp = root / "apt.conf", root / "refreshed"
    conf.write_text(CONF.format(root=root.resolve(), languages=" ".join(f'"{each}";' for each in languages)))
    if not stamp.exists() or time.time() - stamp.stat().st_mtime > FRESH:
        done = subprocess.run(["apt-get", "-q", "-c", str(conf), "update"], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            stamp.touch()
        else:
            _make_do(root, done.stderr)
    return {path.name: file_sha256(path) for path in sorted(index(root))}


def _make_do(root: Path, complaint: str) -> None:
    from rich.console import Console

    lines = [line for line in complaint.splitlines() if line.startswith(("E:", "W:"))]
    reason = lines[0][3:].strip() if lines else "apt-get update failed"
    if not index(root):
        raise Transient(f"debian: no package index yet, and none could be fetched: {reason}")
    Console(stderr=True, soft_wrap=True).print(
        f"debian: the package index could not be refreshed; going on with the one that is there ({reason})", markup=False
    )


def index(root: Path, created_by: str = "") -> list[Path]:
    """The Packages and Translation-en files of the private root that are there."""
    command = ["apt-get", "-c", str(root / "apt.conf"), "indextargets", "--format", "$(CREATED_BY)\t$(FILENAME)"]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    rows = [line.split("\t", 1) for line in lines if "\t" in line]
    kinds = (created_by,) if created_by else ("Packages", "Translations")
    return [Path(name) for kind, name in rows if kind in kinds and Path(name).is_file()]


def read(source: DebianSource, root: Path, dropped: Counter[str]) -> list[tuple[str, str, tuple[tuple[str, str], ...]]]:
    """The slice: (stanza, synopsis, known values), chosen by the smallest sha256 of the stanza until `max_chars` is reached.

    Chosen by hash, an index that moved by a few packages moves the slice by a few pairs. `dropped` counts what was left out.
    """
    long = {}
    for stanza in stanzas(index(root, "Translations")):
        long[stanza.get("Description-md5", "")] = stanza.get("Description-en", "").partition("\n")[2]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for stanza in stanzas(index(root, "Packages")):
        synopsis, _, inline = stanza.get("Description", "").partition("\n")
        text = fold(inline or long.get(stanza.get("Description-md5", ""), ""))
        if not synopsis.strip() or not text:
            dropped["no synopsis" if text else "no long description"] += 1
            continue
        pair = (write_stanza(stanza, cut(text, source.description_chars)), synopsis.strip())
        if pair in rows:
            dropped["duplicate"] += 1
        rows[pair] = stanza
    chosen, chars = [], 0
    for pair in sorted(rows, key=lambda pair: hashlib.sha256(pair[0].encode()).digest()):
        chars += len(pair[0]) + len(pair[1])
        if chars > source.max_chars:
            break
        chosen.append((*pair, known(rows[pair])))
    dropped["outside the slice"] = len(rows) - len(chosen)
    return chosen


def stanzas(paths: list[Path], wanted: Collection[str] = WANTED) -> Iterator[dict[str, str]]:
    """The `wanted` fields of each stanza; continuation lines keep their line breaks.

    python-debian's deb822 reads the same in seven times the CPU time (7 s for the whole index instead of 1 s).
    """
    for path in paths:
        content = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", str(path)], capture_output=True, check=True).stdout
        for block in content.decode("utf-8", "replace").split("\n\n"):
            fields: dict[str, str] = {}
            name = ""
            for line in block.split("\n"):
                if line[:1] in (" ", "\t"):
                    if name in fields:
                        fields[name] += "\n" + line
                    continue
                name, _, value = line.partition(":")
                if name in wanted:
                    fields[name] = value.strip()
            if fields:
                yield fields


def fold(text: str) -> str:
    """A long description on one line, its paragraph marks gone."""
    return " ".join(word for line in text.split("\n") if line.strip() != "." for word in line.split())


def cut(text: str, limit: int) -> str:
    """As many whole words of `text` as fit in `limit` characters."""
    return text if len(text) <= limit else text[: limit + 1].rpartition(" ")[0].rstrip()


def write_stanza(fields: Mapping[str, str], description: str) -> str:
    """The source text: the stanza without its synopsis (the target) and without Description-md5, which would stand for it."""
    lines = [f"{name}: {fields[name]}" for name in ("Package", "Section", "Maintainer", "Homepage") if fields.get(name)]
    return "\n".join([*lines, f"Description: {description}"])


def known(fields: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The personal values that a stanza states: the maintainer's name (a person's, not a team's), address, and homepage."""
    name, address = parseaddr(fields.get("Maintainer", ""))
    # parseaddr takes an RFC 5322 comment, `Ann Lee (evo) <...>`, into the name; the comment is no part of it
    person = re.sub(r"\s*\([^)]*\)", "", name).strip()
    values = []
    if person and not GROUP.search(person) and not LIST.search(address):
        values.append(("PERSON", person))
    if "@" in address:
        values.append(("EMAIL_ADDRESS", address))
    if fields.get("Homepage"):
        values.append(("URL", fields["Homepage"]))
    return tuple(values)
