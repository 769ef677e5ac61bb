"""For authors of targets: the conformance suite that our own four pass.

Needs pytest: ``pip install dolt-watch[testing]``.
"""

import pytest

pytest.register_assert_rewrite("dolt_watch.testing.target_conformance")

from dolt_watch.testing.target_conformance import ServiceHarness, TargetConformance, make_task  # noqa: E402

__all__ = ["ServiceHarness", "TargetConformance", "make_task"]
