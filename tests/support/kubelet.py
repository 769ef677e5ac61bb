"""A stand-in for a node: runs the command of each pod that is bound to it as a local process.

It does what a kubelet does as far as the tests need it: environment from values and Secrets with
``$(NAME)`` expansion, status, termination messages, TERM and KILL on deletion, and logs. It
pulls no image: an image whose name begins with ``missing/`` counts as one that cannot be pulled.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import json
import os
import re
import signal
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

NODE = "stand-in"
MERGE = {"content-type": "application/strategic-merge-patch+json"}


class CannotStart(Exception):
    """A container that waits for something that does not exist. Text: reason, message."""


class StandInNode:
    """Watches the API server for its pods; each pod has a thread of its own."""

    def __init__(self, admin: httpx.Client, pki: Path, folder: Path) -> None:
        self.admin, self.pki, self.folder = admin, pki, folder
        self.deleted: dict[str, threading.Event] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.writers: dict[Path, subprocess.Popen[bytes]] = {}
        self._stopping = threading.Event()
        self._server: http.server.ThreadingHTTPServer | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self._register(self._serve_logs())
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        for process in list(self.processes.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if self._server is not None:
            self._server.shutdown()

    def _register(self, port: int) -> None:
        """Create the node, ready; no controller runs here that would doubt it later."""
        labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
        self.admin.post("/api/v1/nodes", json={"metadata": {"name": NODE, "labels": labels}})
        # The API server taints a new node as not ready; the controller that removes the taint is
        # off.
        self.admin.patch(f"/api/v1/nodes/{NODE}", json={"spec": {"taints": None}}, headers=MERGE)
        size = {"cpu": "1000", "memory": "1000Gi", "pods": "5000", "ephemeral-storage": "1000Gi"}
        now = timestamp()
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        status = {
            "capacity": size,
            "allocatable": size,
            "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        path = f"/api/v1/nodes/{NODE}/status"
        self.admin.patch(path, json={"status": status}, headers=MERGE)

    # -- pods --------------------

    def _watch(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
                self._watch_once()
            self._stopping.wait(0.2)

    def _watch_once(self) -> None:
        selector = {"fieldSelector": f"spec.nodeName={NODE}"}
        listed = self.admin.get("/api/v1/pods", params=selector).json()
        for pod in listed["items"]:
            self._see(pod)
        params = {
            **selector,
            "watch": "true",
            "resourceVersion": listed["metadata"]["resourceVersion"],
        }
        with self.admin.stream("GET", "/api/v1/pods", params=params, timeout=None) as stream:
            for line in stream.iter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR" or self._stopping.is_set():
                    return
                self._see(event["object"], gone=event["type"] == "DELETED")

    def _see(self, pod: dict[str, Any], gone: bool = False) -> None:
        uid, phase = pod["metadata"]["uid"], pod.get("status", {}).get("phase")
        deleted = bool(pod["metadata"].get("deletionTimestamp")) or gone
        if uid in self.deleted:
            if deleted:
                self.deleted[uid].set()
            if deleted and not gone and phase in ("Succeeded", "Failed"):
                self._remove(pod)
        elif deleted and not gone:
            self._remove(pod)
        elif phase not in ("Succeeded", "Failed") and not gone:
            self.deleted[uid] = threading.Event()
            threading.Thread(target=self._run, args=(pod,), daemon=True).start()

    def _run(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        container = pod["spec"]["containers"][0]
        while True:
            try:
                if container["image"].startswith("missing/"):
                    raise CannotStart(
                        "ImagePullBackOff", f"Back-off pulling image {container['image']}"
                    )
                environment = self._environment(pod, container)
                break
            except CannotStart as error:
                reason, message = error.args
                self._status(pod, "Pending", {"waiting": {"reason": reason, "message": message}})
            except httpx.HTTPError:
                pass
            if self.deleted[uid].wait(0.5) or self._stopping.is_set():
                self._remove(pod)
                return
        self._execute(pod, container, environment)

    def _execute(
        self, pod: dict[str, Any], container: dict[str, Any], environment: dict[str, str]
    ) -> None:
        uid, started = pod["metadata"]["uid"], timestamp()
        command = [
            expand(each, environment)
            for each in (*container.get("command", []), *container.get("args", []))
        ]
        log = self.folder / f"{pod['metadata']['namespace']}_{pod['metadata']['name']}.log"
        with log.open("ab") as output:
            try:
                process = subprocess.Popen(
                    command,
                    env=environment,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                end = {
                    "exitCode": 128,
                    "reason": "StartError",
                    "message": str(error),
                    "finishedAt": timestamp(),
                }
                self._status(pod, "Failed", {"terminated": end})
                return
        self.processes[uid] = self.writers[log] = process
        self._status(pod, "Running", {"running": {"startedAt": started}})
        code = self._wait(pod, process)
        self.processes.pop(uid, None)
        end = {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": started,
            "finishedAt": timestamp(),
        }
        if code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            end["message"] = log.read_bytes()[-2048:].decode("utf-8", "replace")
        self._status(pod, "Failed" if code else "Succeeded", {"terminated": end})
        if self.deleted[uid].is_set():
            self._remove(pod)

    def _wait(self, pod: dict[str, Any], process: subprocess.Popen[bytes]) -> int:
        deleted = self.deleted[pod["metadata"]["uid"]]
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
        kill_at: float | None = None
        while (code := process.poll()) is None:
            if deleted.is_set() and kill_at is None:
                kill_at = time.monotonic() + grace
                os.killpg(process.pid, signal.SIGTERM)
            if kill_at is not None and time.monotonic() > kill_at:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.02)
        return 128 - code if code < 0 else code

    def _environment(self, pod: dict[str, Any], container: dict[str, Any]) -> dict[str, str]:
        found = {"PATH": os.environ["PATH"]}
        for source in container.get("envFrom", []):
            found |= self._secret(pod, source["secretRef"]["name"])
        for entry in container.get("env", []):
            reference = entry.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                found[entry["name"]] = self._secret(pod, reference["name"])[reference["key"]]
            else:
                found[entry["name"]] = expand(entry.get("value", ""), found)
        return found

    def _secret(self, pod: dict[str, Any], name: str) -> dict[str, str]:
        namespace = pod["metadata"]["namespace"]
        answer = self.admin.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if answer.status_code == 404:
            raise CannotStart("CreateContainerConfigError", f'secret "{name}" not found')
        data = answer.json().get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _status(self, pod: dict[str, Any], phase: str, state: dict[str, Any]) -> None:
        container = pod["spec"]["containers"][0]
        ready = "True" if "running" in state else "False"
        now = timestamp()
        conditions = [
            {"type": kind, "status": value, "lastTransitionTime": now}
            for kind, value in (
                ("PodScheduled", "True"),
                ("Ready", ready),
                ("ContainersReady", ready),
            )
        ]
        told = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": "running" in state,
            "restartCount": 0,
            "state": state,
        }
        status = {
            "phase": phase,
            "conditions": conditions,
            "startTime": now,
            "hostIP": "127.0.0.1",
            "containerStatuses": [told],
        }
        path = f"{_path(pod)}/status"
        while not self._stopping.is_set():  # the API server may be away for a moment
            try:
                self.admin.patch(path, json={"status": status}, headers=MERGE)
                return
            except httpx.HTTPError:
                time.sleep(0.2)

    def _remove(self, pod: dict[str, Any]) -> None:
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        while not self._stopping.is_set():
            try:
                self.admin.request("DELETE", _path(pod), json=body)
                return
            except httpx.HTTPError:
                time.sleep(0.2)

    # -- logs --------------------

    def _serve_logs(self) -> int:
        node = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                node.send_log(self)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pki / "api.crt", self.pki / "api.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return int(self._server.server_address[1])

    def send_log(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer ``/containerLogs/NAMESPACE/POD/CONTAINER``."""
        parts = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        _, kind, namespace, pod, _ = parts.path.split("/")
        path = self.folder / f"{namespace}_{pod}.log"
        if kind != "containerLogs" or not path.exists():
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.end_headers()
        with path.open("rb") as log, contextlib.suppress(OSError):
            tail = int(query.get("tailLines", "0"))
            if tail:
                handler.wfile.write(b"".join(log.readlines()[-tail:]))
            while True:
                process = self.writers.get(path)
                running = process is not None and process.poll() is None
                if data := log.read():
                    handler.wfile.write(data)
                elif query.get("follow") != "true" or not running or self._stopping.is_set():
                    return
                time.sleep(0.05)


def expand(text: str, environment: dict[str, str]) -> str:
    """``$(NAME)`` as the kubelet expands it:

    ``$$`` is a dollar, an unknown name is left as it is.
    """

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return environment.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", value, text)


def timestamp() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _path(pod: dict[str, Any]) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
