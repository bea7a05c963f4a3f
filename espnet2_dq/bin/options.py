"""What the light entry points share: option types and one way to fail."""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence

from espnet2_dq.errors import DQError


def str_to_bool(value: str) -> bool:
    """Read ``true``/``false`` as ESPnet's options do.

    >>> str_to_bool("true"), str_to_bool("no")
    (True, False)
    """
    low = value.lower()
    if low in ("true", "yes", "1"):
        return True
    if low in ("false", "no", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{value!r} is neither true nor false")


def split_words(values: Sequence[str]) -> list[str]:
    """Flatten ``--langs "en es" fr`` and ``--langs en,es`` to single words.

    >>> split_words(["en es", "fr,it"])
    ['en', 'es', 'fr', 'it']
    """
    return [word for value in values for word in value.replace(",", " ").split()]


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose ``--help`` shows defaults."""
    return argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def run_command(name: str, work: Callable[[], None]) -> int:
    """Run ``work``; an error made for users becomes one message and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        work()
    except DQError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    return 0
