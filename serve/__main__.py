"""The process that the page starts to read images and to compute."""

import sys

from .worker import main

if __name__ == "__main__":
    sys.exit(main())
