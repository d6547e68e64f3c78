"""Takes what Alertmanager posts: version 4 of its webhook, read strictly and refused by code.

Its form is Alertmanager's, so what has another form is refused. Its words are those of whoever
wrote the rules: what is too long is cut and says so, and never keeps the rest from people.

Source: Prometheus documentation, "Alertmanager configuration", webhook_config.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ledger import LedgerError
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.channels.secret import Secret
from monitoring.alerts.message import urgency
from monitoring.errors import MonitoringError

logger = logging.getLogger(__name__)

MAX_BYTES = 4 * 1024 * 1024
MOST_ALERTS = 5000
MOST_LABELS = 64
LONGEST = 4096

LEFT_OUT = "AlertsLeftOut"
"""The alert that says how many of a group nobody was told of."""

_SPECIAL = frozenset({"alertname", "severity"})


class _Posted(BaseModel):
    """One alert as Alertmanager posts it; what else it says is passed over."""

    model_config = ConfigDict(strict=True, frozen=True)

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: AwareDatetime = Field(alias="startsAt", strict=False)
    ends_at: AwareDatetime | None = Field(alias="endsAt", default=None, strict=False)


class _Post(BaseModel):
    """The body of a post."""

    model_config = ConfigDict(strict=True, frozen=True)

    version: Literal["4"]
    alerts: list[_Posted]
    group_labels: dict[str, str] = Field(alias="groupLabels", default={})
    truncated: int = Field(alias="truncatedAlerts", default=0, ge=0)


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
            alerts, left_out = read(body)
            self._hear([*alerts, left_out])
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


def read(body: bytes) -> tuple[Sequence[Alert], Alert]:
    """Return the alerts of a post, and one about those that are not among them.

    Raises:
        ValidationError: it is none that Alertmanager makes.
    """
    post = _Post.model_validate_json(body)
    alerts = [_alert(posted) for posted in post.alerts[:MOST_ALERTS]]
    return alerts, _left_out(post, alerts)


def _alert(posted: _Posted) -> Alert:
    labels, told = posted.labels, posted.annotations
    firing = posted.status == "firing"
    since = _seconds(posted.starts_at)
    return Alert(
        rule=_cut(labels.get("alertname", "unnamed"), name=True),
        labels=_bounded({name: text for name, text in labels.items() if name not in _SPECIAL}),
        severity=_severity(labels.get("severity")),
        firing=firing,
        since=since,
        ended=None if firing else max(since, _seconds(posted.ends_at or datetime.now(UTC))),
        # Their value is in the words of the description.
        value=1.0 if firing else 0.0,
        **{
            name: _cut(told.get(name, ""))
            for name in ("summary", "description", "runbook", "dashboard")
        },
    )


def _left_out(post: _Post, alerts: Sequence[Alert]) -> Alert:
    """What there is to say of those that were left out; that it is over, if none were."""
    many = post.truncated + max(0, len(post.alerts) - MOST_ALERTS)
    now = _seconds(datetime.now(UTC))
    group = ", ".join(f"{name}={text}" for name, text in sorted(post.group_labels.items()))
    return Alert(
        rule=LEFT_OUT,
        labels={"group": _cut(group, name=True)},
        severity=max((alert.severity for alert in alerts), key=urgency, default=Severity.PAGE),
        firing=many > 0,
        since=now,
        ended=None if many else now,
        value=float(many),
        summary=f"{many} more alerts of a group were left out and are told nowhere else",
        description=(
            f"A post had {len(post.alerts)} alerts and left out {post.truncated}; at most"
            f" {MOST_ALERTS} are taken. Raise max_alerts of the webhook, or group by more."
        ),
    )


def _bounded(labels: Mapping[str, str]) -> dict[str, str]:
    """As many labels as people can read, none too long; two sets never become the same."""
    kept = sorted(labels)[:MOST_LABELS]
    found = {_cut(name, name=True): _cut(labels[name], name=True) for name in kept}
    if len(labels) > len(kept):
        rest = "\0".join(f"{name}\0{labels[name]}" for name in sorted(labels)[MOST_LABELS:])
        found["left_out"] = f"{len(labels) - len(kept)} more labels, {_digest(rest)}"
    return found


def _cut(text: str, *, name: bool = False) -> str:
    """A text that is not too long; one that tells one alert from another stays its own."""
    if len(text) <= LONGEST:
        return text
    own = f", {_digest(text)}" if name else ""
    return f"{text[:LONGEST]}… (cut: {len(text)} characters{own})"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


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
