"""`python -m receiver`: the same commands as `leadterra-receiver`."""

from receiver.cli import main

if __name__ == "__main__":
    main()
