"""Print versions, commit and machine: paste it into an issue."""

import argparse
import json
import sys
from collections.abc import Sequence

from espnet2_dq.recipe.environment import environment


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m espnet2_dq.bin.env", description=__doc__
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the environment."""
    arguments = get_parser().parse_args(argv)
    if arguments.json:
        print(json.dumps(environment().as_dict(), indent=1))
    else:
        print("\n".join(environment().lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
