"""The Terraform module as Kubernetes objects, with references resolved and blocks as API fields.

Only constructs of this module are supported. Others raise an error, so that nothing is ignored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from textwrap import dedent
from typing import Any

import hcl2

from dolt_watch import __version__
from tests.deploy.manifests import CRONJOBS, Manifest

MODULE = CRONJOBS / "terraform"
GIVEN = {"image": f"dolt_watch:{__version__}", "project_id": "00000000-0000-0000-0000-000000000000"}
"""Variables without a default, with the values of the kustomize base."""
KINDS = {
    "kubernetes_config_map_v1": ("v1", "ConfigMap"),
    "kubernetes_service_account_v1": ("v1", "ServiceAccount"),
    "kubernetes_network_policy_v1": ("networking.k8s.io/v1", "NetworkPolicy"),
    "kubernetes_role_v1": ("rbac.authorization.k8s.io/v1", "Role"),
    "kubernetes_role_binding_v1": ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    "kubernetes_cron_job_v1": ("batch/v1", "CronJob"),
    "kubernetes_deployment_v1": ("apps/v1", "Deployment"),
    "kubernetes_pod_disruption_budget_v1": ("policy/v1", "PodDisruptionBudget"),
}
PLURALS = {
    "container": "containers",
    "init_container": "initContainers",
    "env_from": "envFrom",
    "topology_spread_constraint": "topologySpreadConstraints",
    "match_expressions": "matchExpressions",
    "image_pull_secret": "imagePullSecrets",
    "env": "env",
    "port": "ports",
    "ports": "ports",
    "volume": "volumes",
    "volume_mount": "volumeMounts",
    "items": "items",
    "egress": "egress",
    "rule": "rules",
    "subject": "subjects",
    "ingress": "ingress",
    "to": "to",
    "from": "from",
}
"""Blocks that may be repeated → the API's list."""
MAPS = {"labels", "annotations", "match_labels", "data", "requests", "limits"}
"""Attributes whose keys are chosen by users and aren't fields."""
ONLY_TERRAFORM = {"for_each", "count", "lifecycle"}

Block = dict[str, Any]


class Module:
    """All files of the module as one text, with a part replaced for a deliberate mistake."""

    def __init__(self, *replace: tuple[str, str], **given: Any) -> None:
        texts = [file.read_text(encoding="utf-8") for file in sorted(MODULE.glob("*.tf"))]
        for old, new in replace:
            assert any(old in text for text in texts), old
            texts = [text.replace(old, new) for text in texts]
        self.text = "\n".join(texts)
        self.blocks: dict[str, list[Block]] = {}
        for text in texts:
            for key, blocks in _parsed(text).items():
                self.blocks.setdefault(key, []).extend(blocks)
        self.variables = {
            _text(name): body for block in self.blocks["variable"] for name, body in _named(block)
        }
        self.outputs = {
            _text(name): body for block in self.blocks["output"] for name, body in _named(block)
        }
        (self.locals,) = self.blocks["locals"]
        self.given = GIVEN | given

    def resources(self) -> Iterator[tuple[str, str, Block]]:
        """Yield type, name and body."""
        for block in self.blocks["resource"]:
            for kind, named in block.items():
                for name, body in _named(named):
                    yield _text(kind), _text(name), body

    def objects(self) -> list[Manifest]:
        return [each for kind, _, body in self.resources() for each in self._instances(kind, body)]

    def _instances(self, kind: str, body: Block) -> Iterator[Manifest]:
        instances: list[tuple[Any, Any]] = [(None, None)]
        if "for_each" in body:
            instances = list(self.value(body["for_each"], {}).items())
        if "count" in body:
            instances *= self.value(body["count"], {})
        version, name = KINDS[kind]
        for key, value in instances:
            scope = {"each": {"key": key, "value": value}}
            yield {"apiVersion": version, "kind": name} | self._fields(body, scope)

    def _fields(self, block: Block, scope: Mapping[str, Any]) -> Manifest:
        found: Manifest = {}
        for key, value in block.items():
            if key in ONLY_TERRAFORM or key.startswith("__"):
                continue
            if key == "dynamic":
                for name, each in (
                    found_one for entry in value for found_one in self._dynamic(entry, scope)
                ):
                    found[PLURALS[name]] = [*found.get(PLURALS[name], ()), *each]
            elif key in MAPS:
                found[_camel(key)] = self.value(value, scope)
            elif key in PLURALS and _is_block(value):
                # The module writes a dynamic block after the others of its kind. hcl2 may return it
                # first.
                found[PLURALS[key]] = [
                    *(self._fields(each, scope) for each in value),
                    *found.get(PLURALS[key], ()),
                ]
            elif _is_block(value):
                (one,) = value
                # A block without content counts as absent. Terraform requires `metadata {}`.
                if fields := self._fields(one, scope):
                    found[_camel(key)] = fields
            else:
                found[_camel(key)] = self.value(value, scope)
        return found

    def _dynamic(
        self, entry: Block, scope: Mapping[str, Any]
    ) -> Iterator[tuple[str, list[Manifest]]]:
        for name, body in _named(entry):
            name = _text(name)
            (content,) = body["content"]
            each = [
                self._fields(content, {**scope, name: {"value": value}})
                for value in self.value(body["for_each"], scope)
            ]
            if each:
                yield name, each

    # -- expressions --------------------

    def value(self, raw: Any, scope: Mapping[str, Any]) -> Any:
        """Return the value of a parsed expression."""
        if isinstance(raw, dict):
            pairs = ((key, value) for key, value in raw.items() if not key.startswith("__"))
            return {self._key(key, scope): self.value(value, scope) for key, value in pairs}
        if isinstance(raw, list):
            return [self.value(each, scope) for each in raw]
        if not isinstance(raw, str):
            return raw
        if heredoc := re.fullmatch(r'"<<-(\w+)\n(.*?)\n?\s*\1"', raw, re.DOTALL):
            return self._template(dedent(heredoc[2]) + "\n", scope)
        if raw.startswith('"') and raw.endswith('"'):
            return self._template(json.loads(raw), scope)
        whole = re.fullmatch(r"\$\{(.*)\}", raw, re.DOTALL)
        return self._expression(whole[1] if whole else raw, scope)

    def _key(self, raw: str, scope: Mapping[str, Any]) -> str:
        key = re.fullmatch(r"\$\{\((.*)\)\}", raw)
        return str(self._expression(key[1], scope)) if key else _text(raw)

    def _template(self, text: str, scope: Mapping[str, Any]) -> str:
        return re.sub(r"\$\{(.*?)\}", lambda match: str(self._expression(match[1], scope)), text)

    def _expression(self, text: str, scope: Mapping[str, Any]) -> Any:
        text = text.strip()
        if choice := re.fullmatch(r"(.+?) \? (.+?) : (.+)", text):
            return self._expression(choice[2 if self._expression(choice[1], scope) else 3], scope)
        if equal := re.fullmatch(r"(.+?) == (.+)", text):
            return self._expression(equal[1], scope) == self._expression(equal[2], scope)
        if text.startswith("!"):
            return not self._expression(text[1:], scope)
        if text == "null":
            return None
        if same := re.fullmatch(r"tomap\((.*)\)", text, re.DOTALL):
            return self._inner(same[1], scope)
        if merged := re.fullmatch(r"merge\((.*)\)", text, re.DOTALL):
            parts = self._inner(f"[{merged[1]}]", scope)
            return {key: value for part in parts for key, value in part.items()}
        if call := re.fullmatch(r"(jsonencode|sha256)\((.*)\)", text, re.DOTALL):
            value = self._inner(call[2], scope)
            return (
                json.dumps(value)
                if call[1] == "jsonencode"
                else hashlib.sha256(value.encode()).hexdigest()
            )
        if resource := re.fullmatch(r"(kubernetes_\w+)\.(\w+)\.metadata\[0\]\.name", text):
            (body,) = (
                body
                for kind, name, body in self.resources()
                if (kind, name) == (resource[1], resource[2])
            )
            return self.value(body["metadata"][0]["name"], scope)
        if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", text):
            return self._reference(text.split("."), scope)
        return self._inner(text, scope)

    def _inner(self, text: str, scope: Mapping[str, Any]) -> Any:
        """Return the value of an expression inside another one. hcl2 returns it as text."""
        parsed = _parsed(f"x = {text}\n")["x"]
        if parsed == f"${{{text}}}" and not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", text):
            raise ValueError(f"not understood: {text}")
        return self.value(parsed, scope)

    def _reference(self, path: list[str], scope: Mapping[str, Any]) -> Any:
        head, *rest = path
        if head == "var":
            name, *rest = rest
            value = (
                self.given[name]
                if name in self.given
                else self.value(self.variables[name]["default"], {})
            )
        elif head == "local":
            name, *rest = rest
            value = self.value(self.locals[name], scope)
        else:
            value = scope[head]
        for step in rest:
            value = value[step]
        return value


@cache  # Parsing is slow, and a test changes one file of many.
def _parsed(text: str) -> Block:
    parsed: Block = hcl2.loads(text)
    return parsed


def _named(block: Block) -> Iterator[tuple[str, Block]]:
    yield from ((name, body) for name, body in block.items() if not name.startswith("__"))


def _is_block(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and each.get("__is_block__") for each in value)
    )


def _text(raw: str) -> str:
    """Return the text without the quotes that hcl2 keeps."""
    return raw.strip('"')


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
