"""Checks of the rules: each compiles on this database, and an index serves it."""

from __future__ import annotations

from collections.abc import Iterator

from dolt_watch.core.model.rule import Rule
from dolt_watch.core.rules.compiled_rule import compile_for
from dolt_watch.core.rules.parser import Expression
from dolt_watch.core.rules.running_condition import columns_of, conjuncts
from dolt_watch.errors import RuleError
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import Finding, failed, ok, warning


def rules(case: DoctorContext) -> Iterator[Finding]:
    columns = case.engine.columns("issues")
    if not columns:
        return
    leading = _leading(case)
    for rule in case.settings.rules:
        try:
            compile_for(rule, columns, case.engine.dialect)
        except RuleError as error:
            yield failed(error)
            continue
        searched = searchable(rule, columns)
        if leading is None or searched & leading:
            yield ok(f"{rule.name}: compiles")
        else:
            fix = "add a part such as `assignee = 'agent'` to `when` with AND"
            if column := min(searched, default=""):
                fix = f"As an administrator: CREATE INDEX idx_issues_{column} ON issues ({column});"
            yield warning(
                f"{rule.name}: no index serves `when`, so a rebuild reads all of issues", fix
            )


def _leading(case: DoctorContext) -> set[str] | None:
    """Return the columns that an index of ``issues`` begins with; None if the engine can't tell."""
    if case.engine.name != "dolt":
        return None
    # Table, Non_unique, Key_name, Seq_in_index, Column_name …
    rows = case.engine.query("SHOW INDEX FROM issues")
    return {str(row[4]).lower() for row in rows if int(row[3]) == 1}


def searchable(rule: Rule, columns: dict[str, str]) -> set[str]:
    """Return the columns that parts of ``when`` compare with a constant so that an index serves."""
    # Late: sqlglot is slow to import, and compiled rules are saved.
    from sqlglot import exp

    served = (exp.EQ, exp.NullSafeEQ, exp.In, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.Is)
    parts = conjuncts(Expression(f"rules.{rule.name}.when", rule.when, columns).parse_condition())
    alone = [
        part for part in parts if isinstance(part, served) and isinstance(part.this, exp.Column)
    ]
    return {part.this.name.lower() for part in alone if len(columns_of(part)) == 1}
