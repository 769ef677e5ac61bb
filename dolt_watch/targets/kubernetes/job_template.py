"""A Job manifest of the user: YAML whose texts are Jinja2 templates.

The YAML is parsed first, and each text in it is rendered by itself. Whatever a bead contains, the
result is one text in the same place. So no bead can add a key, and no quoting is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.kubernetes.manifest import container_text
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.templates import Template

_TOO_DEEP = "The Job template is nested too deeply."
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
        if (wrong := _problem(manifest)) is not None:
            problem, fix = wrong
            raise SettingsError(f"The Job template is invalid: {problem}.", where=source, fix=fix)
        try:
            self._tree = _compile(manifest, source, (), False)
        except RecursionError:  # An anchor of YAML that contains itself.
            raise SettingsError(_TOO_DEEP, where=source, fix=_FIX) from None

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
        fix = "Check the path. It is relative to the settings file."
        raise SettingsError(
            f"Can't read the Job template {path}: {reason}.", where=where, fix=fix
        ) from None
    return JobTemplate(text, str(path))


def _parse(text: str, source: str) -> Any:
    try:
        # Late: an optional dependency, for Job templates only.
        import yaml
    except ModuleNotFoundError:
        fix = "`pip install 'dolt-watch[kubernetes]'`"
        raise SettingsError("A Job template requires PyYAML.", where=source, fix=fix) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark is not None else source
        message = getattr(error, "problem", None) or str(error).partition("\n")[0]
        problem = f"The Job template isn't YAML: {message}."
    except RecursionError:
        problem, where = _TOO_DEEP, source
    # PyYAML checks no value against its tag: 2026-13-45, !!float x, !!timestamp x.
    except (ValueError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        problem, where = f"The Job template isn't YAML: {sanitize(str(error), 200)}.", source
    raise SettingsError(problem, where=where, fix=_FIX)


def _problem(manifest: Any) -> tuple[str, str] | None:
    """Return the first problem of a manifest and its fix. None if it can be used."""
    # The API server refuses these too, but only after a bead is claimed.
    if problem := _not_a_job(manifest):
        return problem, _FIX
    # The API server accepts these, and would start a second agent.
    spec = manifest["spec"]
    once, fix = "each token runs at most once", "Remove that line."
    for key, allowed in _ONE_RUN.items():
        if spec.get(key) is not None and spec[key] not in allowed:
            return f"spec.{key} must be {allowed[0]}: {once}", fix
    for key in _NEVER:
        if spec.get(key) is not None:
            return f"spec.{key} can't be set: {once}", fix
    pod = spec["template"]["spec"]
    containers, others = pod["containers"], pod.get("initContainers")
    # A sidecar among the initContainers may restart, but its rules can restart all containers.
    if any(each.get("restartPolicy") not in (None, "Never") for each in (pod, *containers)):
        return f"restartPolicy must be Never: {once}", fix
    everything = (*containers, *(others if isinstance(others, list) else ()))
    if any(each.get("restartPolicyRules") is not None for each in everything):
        return f"restartPolicyRules can't be set: {once}", fix
    if (policy := spec.get("podFailurePolicy")) is not None and not _only_fails(policy):
        return f"the actions of spec.podFailurePolicy must be FailJob or Count: {once}", fix
    for key in ("activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        if spec.get(key) is not None and (type(spec[key]) is not int or spec[key] < 1):
            return f"spec.{key} must be a number of seconds, at least 1", _FIX
    return None


def _only_fails(policy: Any) -> bool:
    """Return whether a failed pod is never replaced, as it is after the action Ignore."""
    rules = policy.get("rules") if isinstance(policy, dict) else None
    return isinstance(rules, list) and all(
        isinstance(rule, dict) and rule.get("action") in ("FailJob", "Count") for rule in rules
    )


def _not_a_job(manifest: Any) -> str:
    """Return why a manifest isn't a Job. '' if it is one."""
    if not isinstance(manifest, dict) or manifest.get("kind") != "Job":
        return "it isn't one object of kind Job"
    if manifest.get("apiVersion") != "batch/v1":
        return "apiVersion must be batch/v1"
    if unknown := sorted(map(str, manifest.keys() - {"apiVersion", "kind", "metadata", "spec"})):
        return f"a Job has no key {unknown[0]}"
    template = _mapping(_mapping(manifest, "spec"), "template")
    pod = _mapping(template, "spec")
    if not isinstance(pod.get("containers"), list) or not pod["containers"]:
        return "spec.template.spec.containers is missing"
    for key in ("containers", "initContainers"):
        listed = pod.get(key)
        for number, each in enumerate(listed if isinstance(listed, list) else ()):
            if not isinstance(each, dict):
                return f"{key}[{number}] isn't a container"
            variables = each.get("env") or []
            if not isinstance(variables, list) or not all(isinstance(v, dict) for v in variables):
                return f"{key}[{number}].env isn't a list of variables"
    for place, owner in (("metadata", manifest), ("spec.template.metadata", template)):
        found = owner.get("metadata") or {}
        if not isinstance(found, dict) or not all(
            isinstance(found.get(key) or {}, dict) for key in ("labels", "annotations")
        ):
            return f"{place} isn't an object with labels and annotations"
    return ""


def _mapping(owner: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = owner.get(key)
    return found if isinstance(found, dict) else {}


def _compile(node: Any, source: str, path: tuple[str | int, ...], program: bool) -> Any:
    """Compile the texts of a node. ``program``: they become parts of a command or its variables."""
    if isinstance(node, str):
        if "{{" not in node and "{%" not in node and "{#" not in node:
            return node
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
        finalize = (lambda value: container_text(str(value))) if program else None
        return Template(node, f"{source}: {place[1:]}", finalize)
    if isinstance(node, dict):
        return {
            _plain(key): _compile(value, source, (*path, key), program or _is_program(path, key))
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [
            _compile(value, source, (*path, number), program) for number, value in enumerate(node)
        ]
    return _plain(node)


def _plain(value: Any) -> Any:
    """Return a value of JSON. A date in YAML becomes a date in Python. Kubernetes has none."""
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _is_program(path: tuple[str | int, ...], key: object) -> bool:
    """Return whether the kubelet expands ``$(NAME)`` below this key of a container."""
    in_container = any(part in ("containers", "initContainers") for part in path)
    return in_container and key in ("command", "args", "env")


def _render(node: Any, task: BeadTask, token: str) -> Any:
    if isinstance(node, Template):
        return node.render(task, token)
    if isinstance(node, dict):
        return {key: _render(value, task, token) for key, value in node.items()}
    if isinstance(node, list):
        return [_render(value, task, token) for value in node]
    return node
