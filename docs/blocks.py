"""The generated blocks of the documentation: `make docs` fills them in, `make test` checks that they are up to date."""

import os
import subprocess
import sys

from kinema.cli.main import COMMANDS


def help_of(command: str = "") -> None:
    """Print what `kinema COMMAND --help` prints, as a code block."""
    words = [sys.executable, "-m", "kinema.cli.main", *command.split(), "--help"]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    text = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    print(f"```text\n$ kinema {command} --help\n{lines}\n```".replace("kinema  --help", "kinema --help"))


def help_of_all() -> None:
    """Print the help of each command under a heading of its own."""
    for name in COMMANDS:
        print(f"\n## kinema {name}\n")
        help_of(name)
