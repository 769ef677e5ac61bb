"""Keys of ``kind = "kubernetes"``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from dolt_watch.targets.settings import TargetSettings


@dataclass(frozen=True, slots=True)
class KubernetesSettings(TargetSettings):
    """A Kubernetes cluster: each attempt is a Job."""

    reports_jobs: ClassVar[bool] = True
    deduplicates: ClassVar[bool] = True

    @property
    def stops_runs(self) -> bool:
        return self.stop_on_reap

    kind: str = "kubernetes"
    namespace: str = ""
    """Namespace of the Jobs. Default: the namespace of the pod in which dolt_watch runs."""
    installation: str = "dolt-watch"
    """Label of the Jobs. Two installations that share a namespace need different ones."""
    max_jobs: int = 10
    """Number of Jobs that may run at the same time. A quota on ``count/jobs.batch`` enforces it."""
    image: str = ""
    """Image of the agent. Required unless ``job_template`` is set."""
    command: tuple[str, ...] = ()
    """Command of the agent. Default: the entry point of the image."""
    env: Mapping[str, str] = field(default_factory=dict)
    """More environment variables, name → value. For secrets, use ``env_from_secret``."""
    env_from_secret: tuple[str, ...] = ()
    """Names of Secrets whose keys become environment variables of the agent."""
    requests: Mapping[str, str] = field(default_factory=dict)
    """Resource requests, for example ``{cpu = "500m", memory = "1Gi"}``."""
    limits: Mapping[str, str] = field(default_factory=dict)
    """Resource limits, for example ``{memory = "2Gi"}``."""
    service_account: str = ""
    """ServiceAccount of the agent's pod. Default: the namespace's default, without a token."""
    job_template: Path | None = None
    """A Job manifest (YAML), instead of ``image``. Relative to the settings file."""
    prompt_template: Path | None = None
    """A Jinja2 template of the prompt, instead of the default. Relative to the settings file."""
    run_timeout: timedelta = timedelta(minutes=30)
    """How long a run may take. Kubernetes kills the agent after that."""
    start_timeout: timedelta = timedelta(minutes=5)
    """How long a Job may be without a running pod before it counts as one that cannot start."""
    stop_on_reap: bool = True
    """Whether a Job is deleted when the reaper blocks its bead."""
    keep_jobs: timedelta = timedelta(days=1)
    """How long a finished Job is kept, at least an hour. Until then its token cannot run again."""
    server: str = ""
    """URL of the API server. Default: the cluster in which dolt_watch runs."""
    token_file: Path | None = None
    """A file with the bearer token, read at each request. Default: that of the ServiceAccount."""
    ca_file: Path | None = None
    """A file with the cluster's CA certificate. Default: that of the ServiceAccount."""
