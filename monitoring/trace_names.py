"""Every name in our spans, and nothing else has them: spans, attributes, what an attribute may say.

`gen_ai.*` are OpenTelemetry's semantic conventions for generative AI in the form of semantic
conventions 1.37.0; they are in development, and moved into a repository of their own in 2026, so
they are mapped here and nowhere else. What they have no name for is under `honeyflow.`. Prompts,
answers and texts of errors have no name here, and so no way into a span.
"""

from __future__ import annotations

CONVENTION = "1.37.0"
SCHEMA_URL = f"https://opentelemetry.io/schemas/{CONVENTION}"
SCOPE = "honeyflow"
SERVICE = "honeyflow"

SUBMIT = "submit"
QUEUE = "queue"
ATTEMPT = "attempt"
GENERATE = "engine.generate"
AGGREGATE = "aggregate"
RECEIPT = "receipt"
DELIVER = "deliver"

SPANS = (SUBMIT, QUEUE, ATTEMPT, GENERATE, AGGREGATE, RECEIPT, DELIVER)
"""In the order of a job's life."""

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_CHOICES = "gen_ai.request.choice.count"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
FINISH_REASONS = "gen_ai.response.finish_reasons"
ERROR_TYPE = "error.type"
DESTINATION = "messaging.destination.name"

CHAT, COMPLETION = "chat", "text_completion"
"""What `gen_ai.operation.name` may say."""

JOB_ID = "honeyflow.job.id"
JOB_STATE = "honeyflow.job.state"
PRIORITY = "honeyflow.job.priority"
POLICY = "honeyflow.job.policy"
PROFILE = "honeyflow.job.profile"
ORIGIN = "honeyflow.job.origin"
CORRELATION = "honeyflow.correlation_id"
ATTEMPT_NUMBER = "honeyflow.attempt"
WORKER = "honeyflow.worker"
SAMPLE_INDEX = "honeyflow.sample.index"
FIRST_TOKEN = "honeyflow.sample.first_token_s"  # noqa: S105 - a token of text
CONFIDENCE = "honeyflow.confidence"
ROUNDS = "honeyflow.rounds"
REVIEW = "honeyflow.review"
RECEIPT_DIGEST = "honeyflow.receipt.digest"

GEN_AI = (
    *(OPERATION, PROVIDER, REQUEST_MODEL, REQUEST_MAX_TOKENS, REQUEST_TEMPERATURE),
    *(REQUEST_CHOICES, INPUT_TOKENS, OUTPUT_TOKENS, FINISH_REASONS),
)
OTHERS = (ERROR_TYPE, DESTINATION)
OWN = (
    *(JOB_ID, JOB_STATE, PRIORITY, POLICY, PROFILE, ORIGIN, CORRELATION, ATTEMPT_NUMBER, WORKER),
    *(SAMPLE_INDEX, FIRST_TOKEN, CONFIDENCE, ROUNDS, REVIEW, RECEIPT_DIGEST),
)
ATTRIBUTES = frozenset((*GEN_AI, *OTHERS, *OWN))
"""Every attribute that a span of ours may have."""
