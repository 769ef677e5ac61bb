"""The conformance suite for authors of targets. The built-in targets pass it.

It requires pytest: ``pip install dolt-watch[testing]``.
"""

import pytest

pytest.register_assert_rewrite("dolt_watch.testing.target_conformance")

from dolt_watch.testing.target_conformance import ServiceHarness, TargetConformance, make_task  # noqa: E402

__all__ = ["ServiceHarness", "TargetConformance", "make_task"]
