"""``ken …``: the command line. Each command reads its arguments, calls what Python has under the same name, prints."""

from ken.cli.commands import app as app
from ken.cli.commands import main as main
