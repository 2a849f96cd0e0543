"""``python -m ken.cli`` is ``ken``."""

from ken.cli.commands import main

if __name__ == "__main__":
    main()
