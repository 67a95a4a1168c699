"""A disk that is full: one line, nothing half-made, and it works once there is space. On a file system of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import sources

SCRIPT = """
import sqlite3, sys
from pathlib import Path
from pipelines import sources
from pipelines.spec import Data, SqlSource, FilesSource
base, full = Path(sys.argv[1]), Path(sys.argv[2])
source = {
    "sql": SqlSource(kind="sql", url="sqlite:///rows.db", query="SELECT source, target FROM rows"),
    "files": FilesSource(kind="files", paths=("rows.csv",)),
}[sys.argv[3]]

def left():
    return sorted(path.name for path in full.rglob("*") if path.is_file())

def ingest():
    return sources.ingest(Data(source=source), base, full / "_cache", full)

try:
    ingest()
except Exception as error:
    print(type(error).__name__, error, getattr(error, "errno", None), left())
(full / "ballast").unlink()
print(ingest().path.name[:4])
"""


@pytest.mark.parametrize(
    ("kind", "said"), [("sql", "OSError"), ("files", "SeqlineError rows.csv: too little disk space to read it")]
)
def test_no_space(tmp_path: Path, kind: str, said: str) -> None:
    """`files` say how much will come; a query does not, and fails in mid-write."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mount namespace")
    full = tmp_path / "full"
    full.mkdir()
    make = f"""
import random, sqlite3
noise = random.Random(7)
rows = [(noise.randbytes(500).hex(), "b") for _ in range(48_000)]
base = {str(tmp_path)!r}
with sqlite3.connect(base + "/rows.db") as database:
    database.execute("CREATE TABLE rows (source TEXT, target TEXT)")
    database.executemany("INSERT INTO rows VALUES (?, ?)", rows)
with open(base + "/rows.csv", "w") as stream:
    stream.write("source,target\\n" + "".join(f"{{s}},{{t}}\\n" for s, t in rows))
"""
    subprocess.run([sys.executable, "-c", make], check=True)
    shell = 'mount -t tmpfs -o size=220m none "$2" && head -c 202M /dev/zero > "$2/ballast" && exec "$0" -c "$1" "$3" "$2" "$4"'
    ran = subprocess.run(
        [*unshare, "sh", "-c", shell, sys.executable, SCRIPT, str(full), str(tmp_path), kind],
        cwd=Path(sources.__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    refusal, works = ran.stdout.splitlines()
    assert said in refusal
    assert refusal.endswith("['ballast']")
    assert works == "raw-"
