"""``python -m bchisto``."""

from .cli import main

if __name__ == "__main__":
    main()
