"""The answers of ``dolt_watch run`` as a separate process."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path


def healthz(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """Return status and text of ``/healthz`` of a ``run``.

    The run uses any free port instead of the one in its arguments. Afterwards it is stopped, and
    must end.
    """
    asked = [
        ("0" if before == "--port" else "127.0.0.1" if before == "--host" else each)
        for before, each in zip(["", *command], command, strict=False)
    ]
    with subprocess.Popen(
        [*asked, "--log", "text"],
        cwd=folder,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = list[str]()
            for line in process.stdout:
                said.append(line)
                if served := re.search(r"serving (http://\S+)/metrics", line):
                    with urllib.request.urlopen(f"{served[1]}/healthz", timeout=120) as answer:
                        found = answer.status, answer.read().decode()
                    process.terminate()
                    # The exit code isn't checked, because buildah has its own.
                    process.wait(300)
                    return found
            raise AssertionError("".join(said))
        finally:
            process.kill()
