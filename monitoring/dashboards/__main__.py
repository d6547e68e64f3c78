"""`python -m monitoring.dashboards`: write the boards for Grafana."""

from __future__ import annotations

from pathlib import Path

from monitoring.dashboards import BOARDS, as_json

FOLDER = Path(__file__).parent


def main() -> int:
    """Write one file for each board."""
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(as_json(board), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
