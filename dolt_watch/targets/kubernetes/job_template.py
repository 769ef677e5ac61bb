"""A Job manifest of the user: YAML whose texts are Jinja2 templates.

The YAML is parsed first, and each text in it is rendered by itself. Whatever a bead contains, the
result is one text in the same place. So no bead can add a key, and no quoting is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dolt_watch.errors import SettingsError
from dolt_watch.targets.kubernetes.manifest import container_text
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.templates import Template

_FIX = "Write a Job as for kubectl create: kind: Job, spec.template.spec.containers"
_ONE_RUN: Mapping[str, tuple[object, ...]] = {
    "backoffLimit": (0,),
    "completions": (1,),
    "parallelism": (1,),
    "suspend": (False,),
    "completionMode": ("NonIndexed",),
    "manualSelector": (False,),
}
"""Key of a Job's spec → the only values with which its token runs at most once."""
_NEVER = ("selector", "backoffLimitPerIndex", "maxFailedIndexes", "successPolicy", "managedBy")


class JobTemplate:
    """A manifest that is read and checked once, and rendered for each bead."""

    def __init__(self, text: str, source: str) -> None:
        """Read and check the manifest. ``source`` is the file, for errors.

        Raises:
            SettingsError: It isn't YAML, isn't one Job, allows more than one run, or contains an
                invalid template.
        """
        manifest = _parse(text, source)
        _check(manifest, source)
        self._tree = _compile(manifest, source, (), False)

    def render(self, task: BeadTask, token: str) -> dict[str, Any]:
        """Return the manifest for this bead. Raises TemplateRenderError."""
        rendered = _render(self._tree, task, token)
        assert isinstance(rendered, dict)
        return rendered


def read_job_template(path: Path, where: str) -> JobTemplate:
    """Return the template in a file. ``where`` is the key that names it. Raises SettingsError."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise SettingsError(
            f"Can't read the Job template {path}: {reason}.",
            where=where,
            fix="Check the path. It is relative to the settings file.",
        ) from None
    return JobTemplate(text, str(path))


def _parse(text: str, source: str) -> Any:
    try:
        # Late: an optional dependency, for Job templates only.
        import yaml
    except ModuleNotFoundError:
        raise SettingsError(
            "A Job template requires PyYAML.",
            where=source,
            fix="`pip install 'dolt-watch[kubernetes]'`",
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        message = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise SettingsError(
            f"The Job template isn't YAML: {message}.", where=f"{source}{line}", fix=_FIX
        ) from None
    except RecursionError:
        raise SettingsError(
            "The Job template is nested too deeply.", where=source, fix=_FIX
        ) from None


def _check(manifest: Any, source: str) -> None:
    def wrong(message: str, fix: str = _FIX) -> SettingsError:
        return SettingsError(f"The Job template is invalid: {message}.", where=source, fix=fix)

    # The API server refuses these too, but only after a bead is claimed.
    if not isinstance(manifest, dict) or manifest.get("kind") != "Job":
        raise wrong("it isn't one object of kind Job")
    if manifest.get("apiVersion") != "batch/v1":
        raise wrong("apiVersion must be batch/v1")
    if unknown := sorted(map(str, manifest.keys() - {"apiVersion", "kind", "metadata", "spec"})):
        raise wrong(f"a Job has no key {unknown[0]}")
    spec = _mapping(manifest, "spec")
    template = _mapping(spec, "template")
    pod = _mapping(template, "spec")
    containers = pod.get("containers")
    if not isinstance(containers, list) or not containers:
        raise wrong("spec.template.spec.containers is missing")
    for place, each in _containers(pod):
        if not isinstance(each, dict):
            raise wrong(f"{place} isn't a container")
        variables = each.get("env") or []
        if not isinstance(variables, list) or not all(isinstance(one, dict) for one in variables):
            raise wrong(f"{place}.env isn't a list of variables")
    for place, owner in (("metadata", manifest), ("spec.template.metadata", template)):
        found = owner.get("metadata") or {}
        parts = [
            found,
            *(
                (found.get(key) or {})
                for key in ("labels", "annotations")
                if isinstance(found, dict)
            ),
        ]
        if not all(isinstance(part, dict) for part in parts):
            raise wrong(f"{place} isn't an object with labels and annotations")
    # The API server accepts these, and would start a second agent.
    for key, allowed in _ONE_RUN.items():
        if spec.get(key) is not None and spec[key] not in allowed:
            raise wrong(
                f"spec.{key} must be {allowed[0]}: each token runs at most once",
                "Remove that line.",
            )
    for key in _NEVER:
        if spec.get(key) is not None:
            raise wrong(
                f"spec.{key} can't be set: each token runs at most once", "Remove that line."
            )
    if pod.get("restartPolicy") not in (None, "Never"):
        raise wrong(
            "restartPolicy must be Never: each token runs at most once", "Remove that line."
        )
    for key in ("activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        if spec.get(key) is not None and (type(spec[key]) is not int or spec[key] < 1):
            raise wrong(f"spec.{key} must be a number of seconds, at least 1")


def _containers(pod: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found = []
    for key in ("containers", "initContainers"):
        listed = pod.get(key) or []
        found += [
            (f"{key}[{number}]", each)
            for number, each in enumerate(listed if isinstance(listed, list) else [])
        ]
    return found


def _mapping(owner: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = owner.get(key)
    return found if isinstance(found, dict) else {}


def _compile(node: Any, source: str, path: tuple[str | int, ...], program: bool) -> Any:
    """Compile the texts of a node. ``program``: they become parts of a command or its variables."""
    if isinstance(node, str):
        if "{{" not in node and "{%" not in node and "{#" not in node:
            return node
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        return Template(node, f"{source}: {place[1:]}", _program_value if program else None)
    if isinstance(node, dict):
        return {
            key: _compile(value, source, (*path, key), program or _is_program(path, key))
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [
            _compile(value, source, (*path, number), program) for number, value in enumerate(node)
        ]
    # A date in YAML becomes a date in Python. Kubernetes has none.
    return node if node is None or isinstance(node, bool | int | float) else str(node)


def _is_program(path: tuple[str | int, ...], key: object) -> bool:
    """Return whether the kubelet expands ``$(NAME)`` below this key of a container."""
    in_container = any(part in ("containers", "initContainers") for part in path)
    return in_container and key in ("command", "args", "env")


def _program_value(value: Any) -> Any:
    return container_text(str(value))


def _render(node: Any, task: BeadTask, token: str) -> Any:
    if isinstance(node, Template):
        return node.render(task, token)
    if isinstance(node, dict):
        return {key: _render(value, task, token) for key, value in node.items()}
    if isinstance(node, list):
        return [_render(value, task, token) for value in node]
    return node
