"""`icm` as a program. Ctrl-C ends it quietly also while the commands are imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Imports the commands and runs one. Exits with code 130 on Ctrl-C."""
    try:
        from icm_annealer.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
