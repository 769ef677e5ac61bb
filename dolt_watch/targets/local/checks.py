"""Checks of the settings of a local target, before anything is claimed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dolt_watch.errors import SettingsError
from dolt_watch.targets.local import environment
from dolt_watch.targets.local.settings import LocalSettings
from dolt_watch.targets.local.usage_limits import InvalidPattern, UsageLimits

if TYPE_CHECKING:
    from dolt_watch.targets.templates import Template


def load_prompt(settings: LocalSettings) -> Template:
    """Return the prompt's template. Raises SettingsError."""
    # Late: only the default prompt is a file of the package.
    from importlib.resources import files

    # Late: jinja2 is slow to import, and few targets render a template.
    from dolt_watch.targets.templates import Template, read_template

    if settings.prompt_template is not None:
        return read_template(settings.prompt_template, settings.origin("prompt_template"))
    text = (files("dolt_watch.targets.local") / "prompt.j2").read_text("utf-8")
    return Template(text, "prompt.j2")


def check_settings(settings: LocalSettings) -> None:
    """Check the values that a type can't restrict. Raises SettingsError."""
    name = settings.name
    # A wrong value is found at the start, before a bead is claimed.
    if not settings.argv or not settings.argv[0]:
        raise SettingsError(
            f"Target {name} has no program to run.",
            where=settings.origin("argv"),
            fix=f'Set [targets.{name}] argv = ["claude", "-p"], for example.',
        )
    if any("\0" in argument for argument in settings.argv):
        raise SettingsError(
            f"Target {name}: argv contains a NUL character.",
            where=settings.origin("argv"),
            fix="Remove it.",
        )
    if settings.slots < 1:
        raise SettingsError(
            f"Target {name}: slots must be at least 1, but is {settings.slots}.",
            where=settings.origin("slots"),
            fix="Set slots = 1 or more. To stop dispatching, run `dolt_watch pause`.",
        )
    numbers = {
        "run_timeout": settings.run_timeout.total_seconds(),
        "log_size": settings.log_size,
    }
    for key, number in numbers.items():
        if number <= 0:
            raise SettingsError(
                f"Target {name}: {key} must be more than 0, but is {number:g}.",
                where=settings.origin(key),
                fix=f"Remove {key} to use the default.",
            )
    try:
        environment.check(settings.env)
    except environment.InvalidEnvironment as error:
        raise SettingsError(
            f"Target {name}: {error}.",
            where=settings.origin("env"),
            fix='Write names, or names with values: env = ["ANTHROPIC_API_KEY", "CI=1"]',
        ) from None


def usage_limits_of(settings: LocalSettings) -> UsageLimits:
    """Return the patterns of a usage limit. Raises SettingsError."""
    try:
        return UsageLimits(settings.rest_on)
    except InvalidPattern as error:
        raise SettingsError(
            f"Target {settings.name}: {error}.",
            where=settings.origin("rest_on"),
            fix='Write presets, exit codes or patterns: rest_on = ["claude", "exit 75", "quota"]',
        ) from None
