"""The conditions that a rule's ``when`` is made of, one by one, so that each can be asked of a bead. Imports sqlglot: import it late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dolt_watch.core import rendering
from dolt_watch.core.expressions import Source
from dolt_watch.core.running import columns_of, conjuncts
from dolt_watch.model import Rule


class Part(NamedTuple):
    """One of the conditions that AND joins."""

    text: str
    """As a person reads it."""
    sql: str
    """Over the row, in MySQL's dialect: for ``Engine.query``."""
    columns: tuple[str, ...]


def parts(rule: Rule, columns: Mapping[str, str]) -> list[Part]:
    """Raises RuleError. ``columns``: name → SQL type, of ``issues``."""
    when = Source(f"rules.{rule.name}.when", rule.when, columns).condition()
    return [
        Part(
            one.sql(dialect="mysql", comments=False),
            f"({rendering.render(one, 'mysql', '')})",
            tuple(sorted(columns_of(one))),
        )
        for one in conjuncts(when)
    ]
