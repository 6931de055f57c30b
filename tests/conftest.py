"""What all tests share. Generated examples are the same in every run; the profile `night` draws fresh ones, and many:
HYPOTHESIS_PROFILE=night pytest tests/core/test_random_workflows.py
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_QUIET = list(HealthCheck)
settings.register_profile("dev", max_examples=60, deadline=None, derandomize=True, suppress_health_check=_QUIET)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=_QUIET)
settings.register_profile("night", max_examples=20_000, deadline=None, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
