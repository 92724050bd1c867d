"""`leadterra-receiver`, also as `python -m receiver`: signals first, then the commands."""

import sys

from receiver.garbage import collect_rarely
from receiver.signals import end_well_when_stopped
from receiver.streams import open_missing


def main() -> None:
    """Run the command line; exits with the codes that the README lists."""
    open_missing()
    end_well_when_stopped(sys.argv[1:])
    collect_rarely()
    from receiver.cli import main as run  # noqa: PLC0415 # importing takes time in which signals may come

    run()


if __name__ == "__main__":
    main()
