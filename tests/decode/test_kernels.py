"""Which kernels CTranslate2 gets: set before anything of ours can load it, and never over the user's own choice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pipelines

NAME = "CT2_FORCE_CPU_ISA"
CODE = f"import json, os, sys, pipelines; print(json.dumps([os.environ.get('{NAME}'), 'ctranslate2' in sys.modules]))"


def chosen(**own: str) -> list[str | bool | None]:
    env = {name: value for name, value in os.environ.items() if name != NAME} | own
    done = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True)
    found: list[str | bool | None] = json.loads(done.stdout)
    return found


def test_what_the_cpu_can_do_decides_and_what_the_user_set_stays() -> None:
    able = pipelines._flags() >= pipelines._AVX512
    assert chosen() == ["AVX512" if able else None, False]
    assert chosen(CT2_FORCE_CPU_ISA="AVX2") == ["AVX2", False]


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("model name\t: A\nflags\t\t: fpu avx512f avx512_vnni\nflags\t\t: fpu\n", {"fpu", "avx512f", "avx512_vnni"}),
        ("Features\t: fp asimd\n", set()),
        (None, set()),
    ],
    ids=["x86", "arm", "another system"],
)
def test_flags(tmp_path: Path, text: str | None, flags: set[str]) -> None:
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    assert pipelines._flags(path) & {"fpu", "avx512f", "avx512_vnni", "fp"} == flags
