"""I/O. `python -m viplake`."""

from viplake.cli import main

if __name__ == "__main__":
    main()
