"""python -m stratovirt."""

from stratovirt.cli import main

if __name__ == "__main__":
    main()
