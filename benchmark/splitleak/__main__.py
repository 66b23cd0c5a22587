"""`python -m splitleak` is the command `splitleak`."""

from splitleak.cli import main

if __name__ == "__main__":
    main()
