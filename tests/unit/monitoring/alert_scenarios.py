"""What every rule is tried on: series just inside and just outside of what it asks.

Each scenario says exactly when which alerts fire. A limit has a series on it and one within a
hundredth of it on the other side, so that no other limit would do.
"""

from __future__ import annotations

from tests.unit.monitoring.alert_budget_scenarios import BUDGET
from tests.unit.monitoring.alert_job_scenarios import JOBS
from tests.unit.monitoring.alert_scenario import Scenario
from tests.unit.monitoring.alert_service_scenarios import SERVICES
from tests.unit.monitoring.alert_worker_scenarios import WORKERS

SCENARIOS: tuple[Scenario, ...] = BUDGET + JOBS + WORKERS + SERVICES
