"""The machine and the programs of the measurements, without host names and paths."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path


def machine() -> str:
    """Return a description of the machine and its programs.

    Example: 'AMD EPYC, 2 cores, 16 GB; Linux 6.1 x86_64; Python 3.11.7, dolt 2.3.1, bd 0.60.0'.
    Programs that aren't on PATH are omitted.
    """
    versions = "".join(
        f", {name} {_version(name)}" for name in ("dolt", "bd") if shutil.which(name) is not None
    )
    kernel = platform.release().partition("-")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB; {platform.system()} {kernel}"
        f" {platform.machine()}; Python {platform.python_version()}{versions}"
    )


def _version(program: str) -> str:
    return subprocess.run([program, "version"], capture_output=True, text=True).stdout.split()[2]


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text("utf-8").splitlines() if told.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )
