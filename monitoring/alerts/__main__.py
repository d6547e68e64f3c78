"""`python -m monitoring.alerts`: write the rules for Prometheus and the page about them."""

from __future__ import annotations

import argparse
from pathlib import Path

from monitoring.alerts.page import page
from monitoring.alerts.prometheus import rules_yaml
from monitoring.alerts.rule import LINKS, Links

RULES_FILE = Path(__file__).with_name("rules.yml")
PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"


def main(arguments: list[str] | None = None) -> int:
    """Write both, or with `--output` the rules alone with links of one's own."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.alerts", description=__doc__)
    parser.add_argument("--output", type=Path, help="write the rules there, and no page")
    parser.add_argument("--dashboards", default=LINKS.dashboards, help="where Grafana is reached")
    parser.add_argument("--runbooks", default=LINKS.runbooks, help="where docs/runbooks.md is read")
    given = parser.parse_args(arguments)
    links = Links(dashboards=given.dashboards, runbooks=given.runbooks)
    (given.output or RULES_FILE).write_text(rules_yaml(links=links), encoding="utf-8")
    if given.output is None:
        PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
