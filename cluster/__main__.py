"""What the job scripts call."""

import sys

from .task import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
