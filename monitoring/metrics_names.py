"""Names that people may look for: older ones, those of others, and those that are not exported."""

from __future__ import annotations

from collections.abc import Mapping

SEEDS: Mapping[str, str] = {
    "jobs_total": "the same name, `{status, model}`",
    "inference_duration_seconds": "the same name",
    "confidence_score": "`confidence_ratio`, 0 to 1; it is 0 to 100",
    "gpu_utilization_percent": "`gpu_utilization_ratio`; it is 0 to 100",
    "gpu_temperature_celsius": "the same name",
    "queue_length": '`jobs_current{state="queued"}`, which is there as well',
    "k_samples_used": "`k_samples`",
}
"""The metrics that the first users named, and what in the table's rule stands for each."""

TWINS: Mapping[str, str] = {
    "rbee_hive_workers_total{state, backend, device}": "`swarmos_workers{model, backend, state}`; "
    "a device is a worker, see `swarmos_worker_info`",
    "rbee_hive_workers_failed_health_checks": "`swarmos_worker_health_check_failures_total{worker, "
    "check}`",
    "rbee_hive_workers_restart_count": "`swarmos_worker_starts_total{worker}`, less the first one",
    "rbee_hive_workers_stale_total": "`swarmos_worker_stale_total{worker}`",
    "rbee_hive_memory_available_bytes": "`swarmos_host_memory_available_bytes{worker}`",
    "rbee_hive_memory_total_bytes": "`swarmos_host_memory_total_bytes{worker}`",
    "rbee_hive_disk_available_bytes": "`swarmos_host_disk_available_bytes{worker}`",
    "rbee_hive_disk_total_bytes": "`swarmos_host_disk_total_bytes{worker}`",
    "rbee_hive_worker_spawn_resource_failures_total": "`swarmos_worker_start_failures_total{worker,"
    " reason}`, the reasons being error codes",
    "rbee_hive_worker_restart_failures_total": "`swarmos_worker_start_failures_total{worker, "
    "reason}`; a first start and a later one are not told apart",
    "rbee_hive_circuit_breaker_activations_total": "not yet: breakers come with the gateway",
    "rbee_hive_models_downloaded_total": "not there: models are not downloaded by workers",
    "rbee_hive_download_active": "not there: models are not downloaded by workers",
    "rbee_inference_requests_total": "`swarmos_jobs_submitted_total`",
    "rbee_inference_latency_seconds": "`swarmos_job_duration_seconds` for the caller's time, "
    "`swarmos_inference_duration_seconds` for the engine's",
}

UNDER_OTHER_NAMES: Mapping[str, str] = {
    "swarmos_errors_total": "`swarmos_job_attempts_total` by outcome",
    "swarmos_worker_up": "`swarmos_workers` by state; one worker: `swarmos_engine_up`",
    "swarmos_job_states": "`swarmos_jobs_current`",
    "swarmos_job_retries_total": '`swarmos_job_attempts_total{outcome="retried"}`',
    "swarmos_worker_restarts_total": "`swarmos_worker_starts_total`",
    "swarmos_worker_start_refusals_total": "`swarmos_worker_start_failures_total`",
    "swarmos_worker_cost_dollars_total": "`swarmos_worker_cost_dollars_per_hour`, to be summed",
    "swarmos_batch_lines_total": '`swarmos_jobs_submitted_total{origin="batch"}`',
    "redis_aof_enabled, redis_memory_used_bytes, redis_memory_max_bytes": "`swarmos_broker_…`; no "
    "Redis exporter is needed",
}

_GATEWAY = "comes with the gateway, which exports its own"
_PEOPLE = "comes with the review console"

ABSENT: Mapping[str, str] = {
    "swarmos_http_requests_total, …_request_duration_seconds, …_requests_in_flight": _GATEWAY,
    "swarmos_admissions_total, swarmos_auth_failures_total": _GATEWAY,
    "swarmos_sse_streams_open, swarmos_sse_closed_total": _GATEWAY,
    "swarmos_webhook_deliveries_total": _GATEWAY,
    "swarmos_circuit_breaker_transitions_total": _GATEWAY,
    "swarmos_engine_restarts_total": "an engine that dies ends its worker, which starts again: "
    "`swarmos_worker_starts_total`",
    "swarmos_model_downloads_total, …_downloads_active, swarmos_model_checksum_failures_total": (
        "models are not downloaded by workers"
    ),
    "swarmos_receipt_verifications_total": "whoever verifies does it elsewhere and tells nobody",
    "swarmos_artifact_uploads_total, swarmos_artifact_upload_duration_seconds": (
        "what matters is what waits: `swarmos_artifact_uploads_pending`"
    ),
    "swarmos_review_wait_seconds, …_handle_seconds, …_verdicts_total, …_claims_expired_total": (
        _PEOPLE
    ),
    "swarmos_review_sla_seconds, …_agreement_ratio, …_sampled_error_ratio": _PEOPLE,
    "swarmos_calibration_error_ratio": _PEOPLE,
    "inference_time_ms, …_gb": "milliseconds and gigabytes are no base units",
}
"""Names of the plan that have no metric, and why."""
