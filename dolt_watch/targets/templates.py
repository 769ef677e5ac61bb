"""Jinja2 templates of what is sent: sandboxed, and strict about names.

Imported late, as jinja2 costs 37 ms.

A template sees ``bead`` (its columns), ``token`` and ``rule``; it includes nothing and reaches
no file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.bead_payload import bead_payload
from dolt_watch.targets.protocol import BeadTask

NAMES = ("bead", "token", "rule")
_ELSEWHERE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_FIX = f"a template has {', '.join(NAMES)}: {{{{ bead.title }}}}, {{{{ bead | tojson }}}}"


class TemplateRenderError(Exception):
    """A template that does not go with this bead; its text says where and why."""


class Template:
    """``place``: a file, or the key that holds the text: where errors point to."""

    def __init__(self, text: str, place: str, finalize: Callable[[Any], Any] | None = None) -> None:
        """``finalize`` is applied to the value of each expression before it goes into the text.

        Raises SettingsError, with the line: no template, or one that names what there is not.
        """
        self.source_name = place
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=finalize
        )
        environment.globals.clear()
        try:
            tree = environment.parse(text, filename=place)
            self._check(tree)
            code = environment.compile(text, filename=place)
        except TemplateSyntaxError as error:
            raise self._wrong(error.message or "not understood", error.lineno) from None
        self._template = environment.template_class.from_code(environment, code, {})

    def render(self, task: BeadTask, token: str) -> str:
        """Raises NotRendered."""
        try:
            return self._template.render(bead=bead_payload(task), token=token, rule=task.rule)
        except Exception as error:  # a template may do anything that an expression can
            message = str(error).replace("'dict object'", "bead")
            shown = (
                message
                if isinstance(error, TemplateError)
                else f"{type(error).__name__}: {message}"
            )
            raise TemplateRenderError(
                f"{self.source_name}:{self._line(error)}: {sanitize(shown, 200)}"
            ) from error

    def _check(self, tree: nodes.Template) -> None:
        for node in tree.find_all(_ELSEWHERE):
            raise self._wrong("a template cannot take in another one", node.lineno)
        declared = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
        for name in tree.find_all(nodes.Name):
            if name.name not in declared and name.name not in (*NAMES, "loop"):
                raise self._wrong(f"there is no {sanitize(name.name, 80)}", name.lineno)

    def _wrong(self, message: str, line: int) -> SettingsError:
        return SettingsError(
            f"the template is wrong: {message}", where=f"{self.source_name}:{line}", fix=_FIX
        )

    def _line(self, error: BaseException) -> int:
        line, trace = 1, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.source_name:
                line = trace.tb_lineno
            trace = trace.tb_next
        return line


def read(path: Path, place: str) -> Template:
    """The template in a file; ``place``: where the settings name it. Raises SettingsError."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        fix = "the path is relative to the settings file"
        raise SettingsError(
            f"the template {path} cannot be read: {error.strerror}", where=place, fix=fix
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(
            "the template is not UTF-8", where=str(path), fix="save it as UTF-8"
        ) from None
    return Template(text, str(path))
