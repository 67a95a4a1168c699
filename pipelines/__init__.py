"""What does the work. Nothing here knows Prefect.

CTranslate2 asks its environment once which kernels to use, so it is set here, before any module can: on a CPU with AVX-512 its
AVX-512 kernels, which nothing else turns on (its docs, "Environment variables"). 8 % more texts a CPU second (15M parameters,
int8, greedy and beam 4).
"""

import os
from pathlib import Path

_AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def _flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What the first CPU can do; empty where the system does not say."""
    if not cpuinfo.is_file():
        return set()
    with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
        return set(next((line for line in lines if line.startswith("flags")), "").split())


if _flags() >= _AVX512:
    os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")
