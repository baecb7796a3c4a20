"""Makes ``python -m llm_primer`` the command line."""

import sys

from llm_primer.cli import main

if __name__ == "__main__":
    sys.exit(main())
