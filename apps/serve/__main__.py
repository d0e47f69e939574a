"""Runs the worker process of the web page, which reads images and predicts them."""

import sys

from .worker import main

if __name__ == "__main__":
    sys.exit(main())
