"""The first file that the zipapp runs: `python -m proofs`, or what there is to install for it."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from proofs.__main__ import main
    except ImportError as exc:
        sys.exit(
            "This needs Python 3.11 or later with the packages cryptography and rfc8785"
            f" ({exc}): python3 -m pip install 'cryptography>=44' rfc8785"
        )
    sys.exit(main())
