"""The kinds of target: for each, the class of its settings and the function that opens it.

Both are stored as names, so that reading the settings imports no target. Third parties add kinds as
entry points of the group ``dolt_watch.targets`` (docs/writing-a-target.md). Entry points are
searched only if a table names a kind that isn't built in, because the search takes 15 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dolt_watch.errors import SettingsError
from dolt_watch.targets.settings import TargetSettings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from dolt_watch.targets.protocol import Target

GROUP = "dolt_watch.targets"
BUILT_IN: dict[str, tuple[str, str]] = {
    "beadboard": (
        "dolt_watch.targets.settings:BeadBoardSettings",
        "dolt_watch.targets.beadboard:BeadBoard",
    ),
    "agent-service": (
        "dolt_watch.targets.agent_service_settings:AgentServiceSettings",
        "dolt_watch.targets.agent_service:AgentService",
    ),
    "webhook": (
        "dolt_watch.targets.webhook_settings:WebhookSettings",
        "dolt_watch.targets.webhook:Webhook",
    ),
    "command": (
        "dolt_watch.targets.command_settings:CommandSettings",
        "dolt_watch.targets.command:Command",
    ),
    "local": (
        "dolt_watch.targets.local.settings:LocalSettings",
        "dolt_watch.targets.local.target:Local",
    ),
    "kubernetes": (
        "dolt_watch.targets.kubernetes.settings:KubernetesSettings",
        "dolt_watch.targets.kubernetes.target:KubernetesTarget",
    ),
}
"""Kind → its settings, and the function that opens it. Each is also the name of a target that needs
no table.
"""
_NO_KEYS = frozenset({"name", "origins", "root"})


def kinds() -> list[str]:
    """Return all kinds, built-in and of third parties."""
    return [*BUILT_IN, *(name for name in _entry_points() if name not in BUILT_IN)]


def is_kind(kind: str) -> bool:
    return kind in BUILT_IN or kind in _entry_points()


def settings_class(kind: str) -> type[TargetSettings]:
    """Return the class of a kind's settings.

    Raises SettingsError if a third party's kind can't be imported.
    """
    if kind in BUILT_IN:
        found: type[TargetSettings] = _named(BUILT_IN[kind][0])
        return found
    return getattr(factory(kind), "Settings", TargetSettings)


def factory(kind: str) -> Callable[[Any], Target]:
    """Return the function that opens a target of this kind.

    Raises:
        SettingsError: There is no such kind, or a third party's kind can't be imported.
    """
    if kind in BUILT_IN:
        own: Callable[[Any], Target] = _named(BUILT_IN[kind][1])
        return own
    point = _entry_points().get(kind)
    if point is None:
        raise SettingsError(
            f"Unknown kind of target: {kind!r}.",
            where="kind",
            fix=(f"Use one of: {', '.join(kinds())}"),
        )
    try:
        foreign: Callable[[Any], Target] = point.load()
    except Exception as error:  # A third party's module may raise anything.
        distribution = point.dist.name if point.dist else point.module
        raise SettingsError(
            f"Can't import the kind of target {kind!r}: {type(error).__name__}: {error}",
            where=f"entry point {point.value} of {distribution}",
            fix=f"`pip install --force-reinstall {distribution}`",
        ) from error
    return foreign


def setting_types(kind: str) -> dict[str, str]:
    """Return the keys of a kind's table with their types as text.

    The type of a secret is 'secret': no settings file may contain it.
    """
    return {
        each.name: _type(each) for each in fields(settings_class(kind)) if each.name not in _NO_KEYS
    }


def _type(one: Any) -> str:
    if one.metadata.get("secret"):
        return "secret"
    if isinstance(one.type, str):
        return one.type
    # Types of a module without `from __future__ import annotations`: int, pathlib.Path | None …
    import re

    return (
        one.type.__name__
        if isinstance(one.type, type)
        else re.sub(r"(?:\w+\.)+(?=\w)", "", str(one.type))
    )


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@cache
def _entry_points() -> dict[str, EntryPoint]:
    # Late: finding entry points costs 15 ms.
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


class TargetPool:
    """Targets by name, each opened at its first use."""

    def __init__(
        self,
        settings: Mapping[str, TargetSettings],
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        """Create the pool.

        Args:
            settings: The settings of each target.
            on_progress: Called at each use, so that the liveness probe doesn't fail during a tick
                that asks a target about many beads.
        """
        self.settings, self.on_progress = settings, on_progress
        self._open: dict[str, Target] = {}

    def __call__(self, name: str) -> Target:
        """Return a target. Nothing is asked of a new one yet.

        Raises:
            SettingsError: There is no such kind, or the settings can't work.
        """
        self.on_progress()
        if name not in self._open:
            settings = self.settings[name]
            self._open[name] = factory(settings.kind)(settings)
        return self._open[name]

    def close(self) -> None:
        for target in self._open.values():
            target.close()
