"""Checks of the settings of a local target, before anything is claimed for it."""

from __future__ import annotations

from dolt_watch.targets.local import environment
from dolt_watch.targets.local.settings import LocalSettings
from dolt_watch.targets.local.usage_limits import InvalidPattern, UsageLimits
from dolt_watch.targets.settings import invalid, missing


def check_settings(settings: LocalSettings) -> None:
    """Check the values that a type can't restrict. Raises SettingsError."""
    # A wrong value is found at the start, before a bead is claimed.
    if not settings.argv or not settings.argv[0]:
        fix = f'Set [targets.{settings.name}] argv = ["claude", "-p"], for example.'
        raise missing(settings, "argv", "program to run", fix)
    if any("\0" in argument for argument in settings.argv):
        raise invalid(settings, "argv", "argv contains a NUL character", "Remove it.")
    if settings.slots < 1:
        problem = f"slots must be at least 1, but is {settings.slots}"
        fix = "Set slots = 1 or more. To stop dispatching, run `dolt_watch pause`."
        raise invalid(settings, "slots", problem, fix)
    numbers = {
        "run_timeout": settings.run_timeout.total_seconds(),
        "log_size": settings.log_size,
    }
    for key, number in numbers.items():
        if number <= 0:
            problem = f"{key} must be more than 0, but is {number:g}"
            raise invalid(settings, key, problem, f"Remove {key} to use the default.")
    if problem := environment.problem_in(settings.env):
        fix = 'Write names, or names with values: env = ["ANTHROPIC_API_KEY", "CI=1"]'
        raise invalid(settings, "env", problem, fix)


def usage_limits_of(settings: LocalSettings) -> UsageLimits:
    """Return the patterns of a usage limit. Raises SettingsError."""
    try:
        return UsageLimits(settings.rest_on)
    except InvalidPattern as error:
        fix = 'Write presets, exit codes or patterns: rest_on = ["claude", "exit 75", "quota"]'
        raise invalid(settings, "rest_on", str(error), fix) from None
