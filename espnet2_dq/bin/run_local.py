"""run.pl's contract on this machine (the recipe calls it under the name run.pl)."""

import sys
from collections.abc import Sequence

from espnet2_dq.errors import DQError
from espnet2_dq.recipe.launcher import USAGE, parse, run
from espnet2_dq.recipe.processes import die_with_parent

EXIT_BAD_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the jobs that the words ask for; the exit code of the failed ones."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("--help", "-h"):
        print(f"{__doc__}\nusage: run.pl {USAGE}")
        return 0 if words else EXIT_BAD_USAGE
    die_with_parent()
    try:
        return run(parse(words))
    except DQError as error:
        print(f"run.pl: {error}", file=sys.stderr)
        return EXIT_BAD_USAGE


if __name__ == "__main__":
    sys.exit(main())
