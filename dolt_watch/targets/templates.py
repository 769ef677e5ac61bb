"""Jinja2 templates for requests: sandboxed, and strict about names.

A template sees ``bead`` (its columns), ``token`` and ``rule``. It can't include another template or
read a file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.bead_payload import bead_payload
from dolt_watch.targets.protocol import BeadTask

if TYPE_CHECKING:
    from jinja2.nodes import Template as Tree

NAMES = ("bead", "token", "rule")
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
        # Late: jinja2 takes 37 ms, and few processes render a template.
        from jinja2 import StrictUndefined, TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

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
            from jinja2 import TemplateError  # Late: as in __init__().

            message = str(error).replace("'dict object'", "bead")
            if not isinstance(error, TemplateError):
                message = f"{type(error).__name__}: {message}"
            raise TemplateRenderError(
                f"{self.source_name}:{self._line(error)}: {sanitize(message, 200)}"
            ) from error

    def _check(self, tree: Tree) -> None:
        from jinja2 import nodes  # Late: as in __init__().

        elsewhere = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
        for node in tree.find_all(elsewhere):
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
    """Return the template in a file. ``place`` is the key that names it, for errors.

    Raises:
        SettingsError: The file can't be read, or is not a valid template.
    """
    try:
        return Template(path.read_bytes().decode("utf-8"), str(path))
    except OSError as error:
        problem, where = f"Can't read the template {path}: {error.strerror}.", place
        fix = "Check the path. It is relative to the settings file."
    except UnicodeDecodeError:
        problem, where = "The template is not UTF-8 text.", str(path)
        fix = "Save it as UTF-8."
    raise SettingsError(problem, where=where, fix=fix)


def read_prompt(path: Path | None, place: str, package: str = "dolt_watch.targets") -> Template:
    """Return the prompt in a file. Without a path, that of a package.

    ``place`` is the key that names the file, for errors. Raises as ``read_template``.
    """
    if path is not None:
        return read_template(path, place)
    # Late: only the built-in prompt is a file of a package.
    from importlib.resources import files

    return Template((files(package) / "prompt.j2").read_text("utf-8"), "prompt.j2")
