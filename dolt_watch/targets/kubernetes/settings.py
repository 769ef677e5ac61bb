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
    """Label of the Jobs. Two installations that share a namespace need different labels. Default:
    'dolt-watch'.
    """
    max_jobs: int = 10
    """Maximum number of Jobs that run at the same time. Default 10. A quota on ``count/jobs.batch``
    enforces it.
    """
    image: str = ""
    """Image of the agent. Required unless ``job_template`` is set."""
    command: tuple[str, ...] = ()
    """Command of the agent. Default: the entry point of the image."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Further environment variables, name → value. For secrets, use ``env_from_secret``."""
    env_from_secret: tuple[str, ...] = ()
    """Names of Secrets whose keys become environment variables of the agent."""
    requests: Mapping[str, str] = field(default_factory=dict)
    """Resource requests, for example ``{cpu = "500m", memory = "1Gi"}``."""
    limits: Mapping[str, str] = field(default_factory=dict)
    """Resource limits, for example ``{memory = "2Gi"}``."""
    service_account: str = ""
    """ServiceAccount of the agent's pod. Default: the namespace's default, without a token."""
    job_template: Path | None = None
    """Job manifest (YAML), instead of ``image``. Relative to the settings file."""
    prompt_template: Path | None = None
    """Jinja2 template of the prompt, instead of the built-in prompt. Relative to the settings
    file.
    """
    run_timeout: timedelta = timedelta(minutes=30)
    """Time limit of a run. Kubernetes kills the agent after it. Default 30m, the default of
    ``stale_after``.
    """
    start_timeout: timedelta = timedelta(minutes=5)
    """Time without a running pod after which a Job counts as unable to start. Default 5m: large
    images take minutes to pull.
    """
    stop_on_reap: bool = True
    """Whether a Job is deleted when the reaper blocks its bead. Default true, so that a blocked
    bead has no live agent.
    """
    keep_jobs: timedelta = timedelta(days=1)
    """How long a finished Job is kept, at least an hour. Until then its token can't run again.
    Default 1d.
    """
    server: str = ""
    """URL of the API server. Default: the cluster in which dolt_watch runs."""
    token_file: Path | None = None
    """File with the bearer token, read at each request. Default: that of the ServiceAccount."""
    ca_file: Path | None = None
    """File with the cluster's CA certificate. Default: that of the ServiceAccount."""
