"""The command line of a class.

python -m helpers.classes course FOLDER [--term 2027-spring]
python -m helpers.classes grade FOLDER [--term ...] [--to grades]
"""

import sys

from helpers.classes.jobs import main

if __name__ == "__main__":
    sys.exit(main())
