"""Takes what Alertmanager posts: version 4 of its webhook, read strictly and refused by code.

Source: Prometheus documentation, "Alertmanager configuration", webhook_config.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ledger import LedgerError
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.channels.secret import Secret
from monitoring.errors import MonitoringError

logger = logging.getLogger(__name__)

MAX_BYTES = 4 * 1024 * 1024
MOST_ALERTS = 5000

_SPECIAL = frozenset({"alertname", "severity"})
_Text: TypeAlias = Annotated[str, Field(max_length=4096)]
_Texts: TypeAlias = Annotated[dict[_Text, _Text], Field(max_length=64)]


class _Posted(BaseModel):
    """One alert as Alertmanager posts it; what else it says is passed over."""

    model_config = ConfigDict(strict=True, frozen=True)

    status: Literal["firing", "resolved"]
    labels: _Texts
    annotations: _Texts = {}
    starts_at: AwareDatetime = Field(alias="startsAt", strict=False)
    ends_at: AwareDatetime | None = Field(alias="endsAt", default=None, strict=False)


class _Post(BaseModel):
    """The body of a post."""

    model_config = ConfigDict(strict=True, frozen=True)

    version: Literal["4"]
    alerts: Annotated[list[_Posted], Field(max_length=MOST_ALERTS)]


class Incoming:
    """What stands behind `POST /alerts`; `hear` takes the alerts, None if they are not wanted.

    Without a `token` whoever can reach it may post.
    """

    def __init__(
        self, hear: Callable[[Sequence[Alert]], object] | None, *, token: Secret | None = None
    ) -> None:
        self._hear = hear
        self._token = token

    def handle(self, _path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """Take a post; return a status and a line of text that begins with a code.

        Alertmanager posts again after a status of 500 and above, and lets go after any other.
        """
        try:
            if not self._allowed(headers):
                return 401, "ALERTS_UNAUTHORIZED: the bearer token is missing or another.\n"
            if self._hear is None:
                return 409, (
                    "ALERTS_SOURCE_BUILTIN: this cluster judges its rules itself; set"
                    ' alerts.source = "prometheus" to have Alertmanager do it.\n'
                )
            if len(body) > MAX_BYTES:
                return 413, f"ALERTS_TOO_LARGE: {len(body)} bytes, at most {MAX_BYTES}.\n"
            alerts = read(body)
            self._hear(alerts)
        except ValidationError as error:
            return 400, f"ALERTS_INVALID: {_first(error)}\n"
        except (LedgerError, MonitoringError) as error:
            logger.warning("alerts were not taken: %s [%s]", error, error.code)
            return 503, f"{error.code}: they were not taken; post them again.\n"
        return 200, f"ALERTS_TAKEN: {len(alerts)}\n"

    def _allowed(self, headers: Mapping[str, str]) -> bool:
        if self._token is None:
            return True
        given = {name.lower(): text for name, text in headers.items()}.get("authorization", "")
        scheme, _, shown = given.partition(" ")
        expected = self._token.read().encode()
        # Both are done in any case, so that the time they take tells nothing.
        same = hmac.compare_digest(shown.strip().encode("utf-8", "replace"), expected)
        return scheme.lower() == "bearer" and same


def read(body: bytes) -> list[Alert]:
    """Return the alerts of a post.

    Raises:
        ValidationError: it is none that Alertmanager makes.
    """
    return [_alert(posted) for posted in _Post.model_validate_json(body).alerts]


def _alert(posted: _Posted) -> Alert:
    labels, told = posted.labels, posted.annotations
    firing = posted.status == "firing"
    since = _seconds(posted.starts_at)
    return Alert(
        rule=labels.get("alertname", "unnamed"),
        labels={name: text for name, text in labels.items() if name not in _SPECIAL},
        severity=_severity(labels.get("severity")),
        firing=firing,
        since=since,
        ended=None if firing else max(since, _seconds(posted.ends_at or datetime.now(UTC))),
        # Their value is in the words of the description.
        value=1.0 if firing else 0.0,
        summary=told.get("summary", ""),
        description=told.get("description", ""),
        runbook=told.get("runbook", ""),
        dashboard=told.get("dashboard", ""),
    )


def _severity(name: str | None) -> Severity:
    """Rules of others may have other words: nobody shall miss an alert for that."""
    return next((one for one in Severity if one == name), Severity.PAGE)


def _seconds(at: datetime) -> float:
    return max(0.0, at.timestamp())


def _first(error: ValidationError) -> str:
    """What is wrong first: where and why, and nothing of what was posted."""
    told = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in told["loc"][:3])
    return f"{ascii(place)[1:-1][:80] or 'body'}: {told['type']}"
