"""What Redis says of itself."""

from __future__ import annotations

from monitoring.broker_watch import BrokerFacts
from monitoring.families.family import Family, single


def families(facts: BrokerFacts) -> list[Family]:
    """The families of `monitoring.metrics.BROKER`; what is not known has no series."""
    return [
        single("broker_up", facts.up),
        single("broker_memory_used_bytes", facts.memory_used_bytes),
        single("broker_memory_max_bytes", facts.memory_max_bytes),
        single("broker_aof_enabled", facts.aof_enabled),
        single("broker_connected_clients", facts.connected_clients),
    ]
