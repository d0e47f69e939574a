"""What the job scripts call."""

import sys

from ...core import BchistoError
from .task import main

if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (BchistoError, OSError) as error:  # such as a full disk, on which no round can be noted
        sys.exit(f"error: {error}")
