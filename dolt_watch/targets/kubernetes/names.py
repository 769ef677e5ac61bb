"""Names and labels of the objects that dolt_watch creates. Pure."""

from __future__ import annotations

import hashlib
import re

PREFIX = "dolt-watch.dev/"
BEAD, RULE, TOKEN = f"{PREFIX}bead", f"{PREFIX}rule", f"{PREFIX}token"
"""Labels contain shortened values. Annotations of the same names contain the whole ones."""
INSTALLATION = f"{PREFIX}installation"
TOMBSTONE = f"{PREFIX}tombstone"
"""Label of a suspended Job that only reserves a name."""
JOB_NAME = "batch.kubernetes.io/job-name"
"""Label that Kubernetes gives the pods of a Job."""

_PREFIX = "dolt-watch-"
_HASHED = "x-"
"""Prefix of the part of a name that is the hash of a token."""
_PLAIN_TOKEN = re.compile(r"[a-z0-9]([-a-z0-9]{0,46}[a-z0-9])?")
_JOB = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_NOT_LABEL = re.compile(r"[^-A-Za-z0-9_.]+")


def job_name(token: str) -> str:
    """Return the name of the token's Job: a DNS label of at most 63 characters."""
    if _PLAIN_TOKEN.fullmatch(token) and not token.startswith(_HASHED):
        return _PREFIX + token
    digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{_PREFIX}{_HASHED}{digest[:46]}"


def token_in(name: str) -> str:
    """Return the token of a Job's name. '' if the name doesn't contain it."""
    token = name.removeprefix(_PREFIX)
    return token if token != name and not token.startswith(_HASHED) else ""


def job_of(run: str) -> str:
    """Return the name of a run's Job. ``run``: the name, or the token if the name isn't known."""
    plain = _PLAIN_TOKEN.fullmatch(run) and not run.startswith(_PREFIX)
    return job_name(run) if plain else run


def is_job_name(text: str) -> bool:
    """Return whether a Job can have this name."""
    return _JOB.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """Return whether a label can have this value unchanged."""
    return _LABEL.fullmatch(text) is not None


def label(text: str) -> str:
    """Return a valid label value: the text itself, or a readable part of it and a hash."""
    if not text or is_label(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    readable = _NOT_LABEL.sub("-", text)[:48].strip("-_.")
    return f"{readable}-{digest}" if readable else digest
