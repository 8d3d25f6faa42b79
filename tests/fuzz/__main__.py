"""`python -m tests.fuzz [seconds]`."""

import sys

from tests.fuzz.run import main

sys.exit(main(sys.argv[1:]))
