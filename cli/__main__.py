"""`python -m cli`: the command `honeyflow`, where it is not on the path."""

from __future__ import annotations

from cli.main import main

if __name__ == "__main__":
    main()
