"""Jinja2 templates for requests: sandboxed, and strict about names.

The module is imported late, because jinja2 takes 37 ms. A template sees ``bead`` (its columns),
``token`` and ``rule``. It can't include another template or read a file.
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
_FIX = f"Use {', '.join(NAMES)}, for example {{{{ bead.title }}}} or {{{{ bead | tojson }}}}."


class TemplateRenderError(Exception):
    """A template that can't be rendered for this bead. The text says where and why."""


class Template:
    """A checked template."""

    def __init__(self, text: str, place: str, finalize: Callable[[Any], Any] | None = None) -> None:
        """Compile the template.

        Args:
            text: The template.
            place: The file, or the key that contains the text. Errors refer to it.
            finalize: Applied to the value of each expression before it becomes part of the text.

        Raises:
            SettingsError: The text is not a template, or it uses an unknown name. The error has the
                line.
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
            raise self._wrong(error.message or "syntax error", error.lineno) from None
        self._template = environment.template_class.from_code(environment, code, {})

    def render(self, task: BeadTask, token: str) -> str:
        """Return the text for a bead. Raises TemplateRenderError."""
        try:
            return self._template.render(bead=bead_payload(task), token=token, rule=task.rule)
        except Exception as error:  # An expression of a template may raise anything.
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
            raise self._wrong("a template can't include another template", node.lineno)
        declared = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"}
        for name in tree.find_all(nodes.Name):
            if name.name not in declared and name.name not in (*NAMES, "loop"):
                raise self._wrong(f"unknown name {sanitize(name.name, 80)}", name.lineno)

    def _wrong(self, message: str, line: int) -> SettingsError:
        return SettingsError(
            f"The template is invalid: {message}.", where=f"{self.source_name}:{line}", fix=_FIX
        )

    def _line(self, error: BaseException) -> int:
        line, trace = 1, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.source_name:
                line = trace.tb_lineno
            trace = trace.tb_next
        return line


def read_template(path: Path, place: str) -> Template:
    """Return the template in a file.

    Args:
        path: The file.
        place: The key that names it, for errors.

    Raises:
        SettingsError: The file can't be read, or is not a valid template.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        fix = "Check the path. It is relative to the settings file."
        raise SettingsError(
            f"Can't read the template {path}: {error.strerror}.", where=place, fix=fix
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(
            "The template is not UTF-8 text.", where=str(path), fix="Save it as UTF-8."
        ) from None
    return Template(text, str(path))
