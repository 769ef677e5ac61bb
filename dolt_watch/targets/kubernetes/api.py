"""Requests to the Kubernetes API server. The token is read at each request, because it rotates."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from dolt_watch.sanitize import sanitize
from dolt_watch.targets.http_client import HttpClient, HttpResult, TransportFailure, ca_context
from dolt_watch.targets.kubernetes import names
from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.settings import missing

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Folder that Kubernetes mounts into a pod: token, ca.crt, namespace."""
MAX_OBJECT = 4 * 1024 * 1024
"""Bytes of an answer with one object. The API server stores at most 3 MiB."""
MAX_TOKEN = 64 * 1024
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class Connection(NamedTuple):
    """The address of the API server, and the credentials for it."""

    server: str
    namespace: str
    token_file: Path | None
    ca_file: Path | None


def find_connection(settings: KubernetesSettings, environ: Mapping[str, str]) -> Connection:
    """Return the connection of the settings, completed by the pod's ServiceAccount.

    The ServiceAccount's token and CA are used only if ``server`` is not set. A token of one cluster
    must not be sent to another.

    Raises:
        SettingsError: No server or no namespace is known.
    """
    name, host = settings.name, environ.get("KUBERNETES_SERVICE_HOST", "")
    server, token_file, ca_file = settings.server, settings.token_file, settings.ca_file
    if not server:
        if not host:
            thing = "API server, and dolt_watch doesn't run in a cluster"
            fix = f'Set [targets.{name}] server = "https://HOST:6443", token_file and ca_file.'
            raise missing(settings, "server", thing, fix)
        host = f"[{host}]" if ":" in host else host
        server = f"https://{host}:{environ.get('KUBERNETES_SERVICE_PORT', '443')}"
        token_file = token_file or SERVICE_ACCOUNT / "token"
        ca_file = ca_file or SERVICE_ACCOUNT / "ca.crt"
    namespace = settings.namespace
    if not namespace:
        with suppress(OSError):
            namespace = (SERVICE_ACCOUNT / "namespace").read_text("utf-8").strip()
    if not namespace:
        fix = f'Set [targets.{name}] namespace = "agents".'
        raise missing(settings, "namespace", "namespace", fix)
    return Connection(server, namespace, token_file, ca_file)


class ApiClient:
    """A client that uses one connection for each request.

    It raises nothing: the exchange contains the failure.
    """

    def __init__(self, connection: Connection) -> None:
        self.server, self.namespace, self.token_file, self.ca_file = connection
        self._caller: HttpClient | None = None
        self._ca_version: tuple[int, int] | None = None

    def request(
        self,
        method: str,
        path: str,
        *,
        timeout: float,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        accept: str = "application/json",
        max_body: int = MAX_OBJECT,
    ) -> HttpResult:
        """Send one request. If the token or CA file can't be read, nothing is sent."""
        headers = {"accept": accept}
        try:
            headers |= self.authorization()
            caller = self._current_caller()
        except OSError as error:
            why = f"{error.filename or self.ca_file} can't be read: {error.strerror}"
            return HttpResult(
                failure=TransportFailure.NOT_SENT, reason=sanitize(why), at=time.time()
            )
        content = None
        if body is not None:
            content = json.dumps(body).encode()  # orjson refuses lone surrogates.
            headers["content-type"] = "application/json"
        if query:
            path = f"{path}?{urlencode(query)}"
        return caller.exchange(
            method, path, timeout=timeout, headers=headers, body=content, max_body=max_body
        )

    def close(self) -> None:
        if self._caller is not None:
            self._caller.close()
            self._caller = None

    def authorization(self) -> dict[str, str]:
        """Return the header with the current token. Raises OSError if the file can't be read."""
        path = self.token_file
        if path is None:
            return {}
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN).decode("ascii", "replace").strip()
        if not token or not token.isprintable() or not token.isascii() or " " in token:
            raise OSError(0, "it contains no token", str(path))
        return {"authorization": f"Bearer {token}"}

    def site(self) -> str:
        """Return an ID of the cluster and the namespace. '' if the CA file can't be read."""
        try:
            authority = self.ca_file.read_bytes() if self.ca_file is not None else b""
        except OSError:
            return ""
        digest = hashlib.sha256(
            b"\0".join((self.server.encode(), self.namespace.encode(), authority))
        )
        return f"kubernetes:{self.namespace}:{digest.hexdigest()[:16]}"

    def get_job(self, name: str, timeout: float) -> HttpResult:
        return self.request("GET", self.jobs_path(name), timeout=timeout)

    def list_pods(self, job: str, timeout: float) -> HttpResult:
        query = {"labelSelector": f"{names.JOB_NAME}={job}"}
        return self.request("GET", self.core_path("pods"), query=query, timeout=timeout)

    def jobs_path(self, name: str = "") -> str:
        base = f"/apis/batch/v1/namespaces/{quote(self.namespace, safe='')}/jobs"
        return f"{base}/{quote(name, safe='')}" if name else base

    def core_path(self, resource: str) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace, safe='')}/{resource}"

    def _current_caller(self) -> HttpClient:
        """Return the client, or a new one if the CA file was replaced. Raises OSError."""
        version = None
        if self.ca_file is not None:
            found = os.stat(self.ca_file)  # noqa: PTH116 - its error names the file
            version = (found.st_ino, found.st_mtime_ns)
        if self._caller is None or version != self._ca_version:
            self.close()
            self._ca_version = version
            _check_ca(self.ca_file)
            self._caller = HttpClient(self.server, ca_file=self.ca_file)
        return self._caller


def _check_ca(ca_file: Path | None) -> None:
    """Raise OSError if the file contains no certificate."""
    if ca_file is None:
        return
    # Late: only an API server with its own certificate needs it.
    import ssl

    try:
        ca_context(ca_file)
    except ssl.SSLError:
        raise OSError(0, "it contains no certificate", str(ca_file)) from None


def status_field(exchange: HttpResult, name: str) -> str:
    """Return a text field of the API server's ``Status``. '' if the answer isn't one."""
    value = exchange.json_field(name) if exchange.json_field("kind") == "Status" else None
    return value if isinstance(value, str) else ""


def describe(exchange: HttpResult) -> str:
    """Return 'HTTP 403: <message>' with the API server's own message if there is one."""
    message = status_field(exchange, "message")
    if exchange.failure is not None or not message:
        return exchange.summary
    return f"HTTP {exchange.status}: {sanitize(message)}"


def is_missing(exchange: HttpResult) -> bool:
    """Return whether the API server itself reports that the object does not exist.

    A 404 without a ``Status`` comes from a proxy or a wrong path. One that names another resource
    is about the namespace.
    """
    missing = exchange.status == 404 and status_field(exchange, "reason") == "NotFound"
    return missing and exchange.json_field("details", "kind") == "jobs"
