"""The public interface for authors of targets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dolt_watch.targets import sdk
from dolt_watch.testing import make_task


@pytest.mark.parametrize("name", sdk.__all__)
def test_each_public_name_exists(name: str) -> None:
    assert getattr(sdk, name) is not None


def test_a_name_that_is_not_public() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Templates'"):
        sdk.Templates  # noqa: B018


def test_a_template_of_a_user(tmp_path: Path) -> None:
    file = tmp_path / "prompt.j2"
    file.write_text("{{ bead.id }}: {{ bead.title }} ({{ token }})", "utf-8")
    prompt = sdk.read_template(file, "[targets.mine] prompt_template")
    assert prompt.render(make_task("bd-7"), "t1") == "bd-7: Find the slow query (t1)"
    with pytest.raises(sdk.TemplateRenderError, match="colour"):
        sdk.Template("{{ bead.colour }}", "here").render(make_task("bd-7"), "t1")


def test_the_interface_imports_no_jinja2() -> None:
    code = "import sys, dolt_watch.targets.sdk; print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
