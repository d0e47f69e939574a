"""What the job scripts call."""

import sys

from .task import main

sys.exit(main(sys.argv[1:]))
