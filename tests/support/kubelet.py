"""A stand-in for a node. It runs the command of each of its pods as a local process.

It does the parts of a kubelet that the tests need. It runs init containers and restarts containers.
It sets the environment from values and Secrets with ``$(NAME)`` expansion. ConfigMaps and emptyDirs
are folders. It runs the readiness probe, and reports status, termination messages and logs. On
deletion, it sends TERM and KILL.

It pulls no image. An image whose name begins with ``missing/`` counts as one that can't be pulled.
``dolt_watch`` is this repository's program. The file system is the machine's. A volume is a folder,
and the working directory and a variable contain the mount path. The network is the machine's too.
Each pod has a loopback address, which replaces 0.0.0.0 in its arguments.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.client
import http.server
import json
import os
import random
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

NODE = "stand-in"
MERGE = {"content-type": "application/strategic-merge-patch+json"}


PROBE_INTERVAL = 0.2
"""Seconds between two readiness probes. A kubelet would wait for periodSeconds."""
RESTART_PAUSE = 0.5
"""Seconds before a container is restarted. A kubelet begins with ten."""


BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting"}}


class CannotStart(Exception):
    """A container that waits for a missing object. Its text is the reason and the message."""


class StandInNode:
    """A watcher of the API server's pods for this node. Each pod has its own thread."""

    def __init__(self, admin: httpx.Client, pki: Path, folder: Path) -> None:
        self.admin, self.pki, self.folder = admin, pki, folder
        self.deleted: dict[str, threading.Event] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.writers: dict[Path, subprocess.Popen[bytes]] = {}
        # Other test runs may have control planes on this machine.
        self._net = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}"
        self._addresses = iter(range(1, 255))
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
        """Create the node and set it ready. No controller here would change that later."""
        labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}
        self.admin.post("/api/v1/nodes", json={"metadata": {"name": NODE, "labels": labels}})
        # The API server taints a new node as not ready. The controller that would remove the taint
        # is off.
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
        running = _Pod(pod, self.folder / pod["metadata"]["uid"], self._address(pod))
        always = pod["spec"].get("restartPolicy", "Always") == "Always"
        init, (main,) = pod["spec"].get("initContainers", []), pod["spec"]["containers"]
        for container in (*init, main):
            while (code := self._start(running, container)) is not None:
                if self._gone(pod):
                    self._remove(pod)
                    return
                if not always and (code or container is main):
                    return
                if code == 0 and container is not main:
                    break
                self._status(
                    running, "Pending" if container in init else "Running", container, BACK_OFF
                )
                if self.deleted[pod["metadata"]["uid"]].wait(RESTART_PAUSE):
                    self._remove(pod)
                    return
            else:
                return

    def _gone(self, pod: dict[str, Any]) -> bool:
        return self.deleted[pod["metadata"]["uid"]].is_set() or self._stopping.is_set()

    def _address(self, pod: dict[str, Any]) -> str:
        """Return a loopback address for a pod that listens."""
        listens = any(each.get("ports") for each in pod["spec"]["containers"])
        return f"{self._net}.{next(self._addresses)}" if listens else "127.0.0.1"

    def _start(self, running: _Pod, container: dict[str, Any]) -> int | None:
        """Run the container to its end. Return its exit code, or None if the pod was removed."""
        pod = running.manifest
        while True:
            try:
                if container["image"].startswith("missing/"):
                    raise CannotStart(
                        "ImagePullBackOff", f"Back-off pulling image {container['image']}"
                    )
                self._mount(running, container)
                environment = self._environment(running, container)
                break
            except CannotStart as error:
                reason, message = error.args
                waiting = {"waiting": {"reason": reason, "message": message}}
                self._status(running, "Pending", container, waiting)
            except httpx.HTTPError:
                pass
            if self.deleted[pod["metadata"]["uid"]].wait(0.5) or self._stopping.is_set():
                self._remove(pod)
                return None
        return self._execute(running, container, environment)

    def _execute(
        self, running: _Pod, container: dict[str, Any], environment: dict[str, str]
    ) -> int:
        pod, started = running.manifest, timestamp()
        uid, is_init = pod["metadata"]["uid"], container in pod["spec"].get("initContainers", [])
        command = [
            expand(each, environment).replace("0.0.0.0", running.address)
            for each in (
                *(container.get("command") or entrypoint(container["image"])),
                *container.get("args", []),
            )
        ]
        log = self.folder / f"{pod['metadata']['namespace']}_{pod['metadata']['name']}.log"
        with log.open("ab") as output:
            try:
                process = subprocess.Popen(
                    command,
                    env=environment,
                    cwd=running.path(container.get("workingDir", "")) or self.folder,
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
                self._status(running, "Failed", container, {"terminated": end})
                return 128
        self.processes[uid] = self.writers[log] = process
        self._status(
            running,
            "Pending" if is_init else "Running",
            container,
            {"running": {"startedAt": started}},
            ready="readinessProbe" not in container,
        )
        code = self._wait(running, container, process)
        self.processes.pop(uid, None)
        end = {
            "exitCode": code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": started,
            "finishedAt": timestamp(),
        }
        if code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            end["message"] = log.read_bytes()[-2048:].decode("utf-8", "replace")
        over = pod["spec"].get("restartPolicy", "Always") != "Always" or self._gone(pod)
        phase = "Failed" if code else "Succeeded"
        if is_init and not (code and over):
            phase = "Pending"
        elif not over:
            phase = "Running"
        self._status(running, phase, container, {"terminated": end})
        return code

    def _wait(
        self, running: _Pod, container: dict[str, Any], process: subprocess.Popen[bytes]
    ) -> int:
        pod, probe = running.manifest, container.get("readinessProbe", {}).get("httpGet")
        ready, next_probe = False, time.monotonic()
        deleted = self.deleted[pod["metadata"]["uid"]]
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
        kill_at: float | None = None
        while (code := process.poll()) is None:
            if deleted.is_set() and kill_at is None:
                kill_at = time.monotonic() + grace
                os.killpg(process.pid, signal.SIGTERM)
            if probe and kill_at is None and time.monotonic() >= next_probe:
                next_probe = time.monotonic() + PROBE_INTERVAL
                if running.answers(container, probe) is not ready:
                    ready = not ready
                    self._status(running, "Running", container, {"running": {}}, ready=ready)
            if kill_at is not None and time.monotonic() > kill_at:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(0.02)
        return 128 - code if code < 0 else code

    def _mount(self, running: _Pod, container: dict[str, Any]) -> None:
        """Write the ConfigMaps of the pod into its folder, and create its emptyDirs."""
        volumes = {each["name"]: each for each in running.manifest["spec"].get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            volume = volumes[mount["name"]]
            # No program here reads the token of the ServiceAccount.
            if "projected" in volume:
                continue
            folder = running.folder / mount["mountPath"].lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
            if "configMap" not in volume:
                continue
            data = self._data(running.manifest, "configmaps", volume["configMap"]["name"])
            if data is None:
                message = f'configmap "{volume["configMap"]["name"]}" not found'
                raise CannotStart("ContainerCreating", message)
            for item in volume["configMap"]["items"]:
                file = folder / item["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(data[item["key"]], "utf-8")

    def _environment(self, running: _Pod, container: dict[str, Any]) -> dict[str, str]:
        pod, found = running.manifest, {"PATH": os.environ["PATH"]}
        for source in container.get("envFrom", []):
            found |= self._secret(pod, source["secretRef"]) or {}
        for entry in container.get("env", []):
            reference = entry.get("valueFrom", {}).get("secretKeyRef")
            if not reference:
                value = expand(entry.get("value", ""), found)
                found[entry["name"]] = str(running.path(value) or value)
            elif reference["key"] in (data := self._secret(pod, reference) or {}):
                found[entry["name"]] = data[reference["key"]]
            elif not reference.get("optional"):
                message = f"couldn't find key {reference['key']} in Secret {reference['name']}"
                raise CannotStart("CreateContainerConfigError", message)
        return found

    def _secret(self, pod: dict[str, Any], reference: dict[str, Any]) -> dict[str, str] | None:
        data = self._data(pod, "secrets", reference["name"])
        if data is not None:
            return {key: base64.b64decode(value).decode() for key, value in data.items()}
        if reference.get("optional"):
            return None
        raise CannotStart("CreateContainerConfigError", f'secret "{reference["name"]}" not found')

    def _data(self, pod: dict[str, Any], kind: str, name: str) -> dict[str, str] | None:
        """Return the data of a Secret or a ConfigMap, or None if it doesn't exist."""
        namespace = pod["metadata"]["namespace"]
        answer = self.admin.get(f"/api/v1/namespaces/{namespace}/{kind}/{name}")
        return None if answer.status_code == 404 else answer.json().get("data") or {}

    def _status(
        self,
        running: _Pod,
        phase: str,
        container: dict[str, Any],
        state: dict[str, Any],
        *,
        ready: bool = True,
    ) -> None:
        pod, now = running.manifest, timestamp()
        is_init = container in pod["spec"].get("initContainers", [])
        ready = ready and "running" in state
        reported = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": ready,
            "restartCount": 0,
            "state": state,
        }
        word = "True" if ready and not is_init else "False"
        conditions = [
            {"type": kind, "status": value, "lastTransitionTime": now}
            for kind, value in (
                ("PodScheduled", "True"),
                ("Initialized", "False" if is_init else "True"),
                ("Ready", word),
                ("ContainersReady", word),
            )
        ]
        status = {
            "phase": phase,
            "conditions": conditions,
            "startTime": now,
            "hostIP": "127.0.0.1",
            "podIP": running.address,
            "podIPs": [{"ip": running.address}],
            "initContainerStatuses" if is_init else "containerStatuses": [reported],
        }
        path = f"{_path(pod)}/status"
        # The API server may be unreachable for a moment.
        while not self._stopping.is_set():
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


class _Pod:
    """A pod on the node, with its own folder and loopback address."""

    def __init__(self, manifest: dict[str, Any], folder: Path, address: str) -> None:
        self.manifest, self.folder, self.address = manifest, folder, address

    def path(self, inside: str) -> Path | None:
        """Return the folder of a mount path inside the pod, or None if there is no mount."""
        found = self.folder / inside.lstrip("/")
        return found if inside.startswith("/") and found.is_dir() else None

    def answers(self, container: dict[str, Any], probe: dict[str, Any]) -> bool:
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        connection = http.client.HTTPConnection(self.address, ports[probe["port"]], timeout=5)
        try:
            connection.request("GET", probe["path"])
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def entrypoint(image: str) -> list[str]:
    """Return the entry point of the image. For this repository's image, the Dockerfile has it."""
    name = image.rpartition("/")[2].partition(":")[0]
    return [sys.executable, "-m", "dolt_watch"] if name == "dolt_watch" else []


def expand(text: str, environment: dict[str, str]) -> str:
    """Return the text with ``$(NAME)`` expanded as by the kubelet.

    ``$$`` is a dollar, and an unknown name stays unchanged.
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
