"""The token list: one token a line, the line number is the id."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet2_dq.data.tables import read_lines
from espnet2_dq.errors import CheckpointError, ConfigError, DataError

SPACE = "<space>"


def read_tokens(path: Path | str) -> list[str]:
    """Read ``tokens.txt``.

    Raises:
        DataError: A token occurs twice, is empty, or the first is not ``<blank>``.
    """
    tokens = read_lines(path)
    if not tokens or tokens[0] != "<blank>":
        first = repr(tokens[0]) if tokens else "missing"
        raise DataError(
            f"{path}:1: {first}; the first token must be '<blank>' (id 0);"
            " run the units stage again"
        )
    lines: dict[str, int] = {}
    for number, token in enumerate(tokens, 1):
        if not token or token in lines:
            what = f"also on line {lines[token]}" if token else "an empty line"
            raise DataError(f"{path}:{number}: token {token!r} is {what}; remove it")
        lines[token] = number
    return tokens


def tokens_sha256(tokens: Sequence[str]) -> str:
    """Hash of a token list; that of the bytes of a ``tokens.txt`` that holds it."""
    return hashlib.sha256("".join(f"{t}\n" for t in tokens).encode()).hexdigest()


def check_same_tokens(
    trained: Sequence[str], found: Sequence[str], model: str, file: str
) -> None:
    """Refuse to use a model with another token list than its own.

    Raises:
        CheckpointError: Naming the first id that differs.
    """
    if list(trained) == list(found):
        return
    pairs = enumerate(zip(trained, found))
    first = next((i for i, (a, b) in pairs if a != b), min(len(trained), len(found)))
    raise CheckpointError(
        f"{model} was trained with {len(trained)} tokens, {file} holds {len(found)};"
        f" they differ from id {first} on; decode with the units of the training run,"
        " or fine-tune again (stage 9)"
    )


def settle_token_lists(
    heads: Sequence[str],
    given: Mapping[str, Sequence[str] | str | Path] | None,
    main_tokens: Sequence[str],
) -> dict[str, list[str]]:
    """Tokens of each head; those of the last, the main head, are ``main_tokens``.

    Args:
        heads: Names of the heads.
        given: Head -> tokens, or the path of a ``tokens.txt``; None where there is
            one head.
        main_tokens: The token list that ESPnet knows of.

    Raises:
        ConfigError: A head without a list, or two lists for the main head.
    """
    main = heads[-1]
    values = {main: main_tokens} if given is None else given
    missing = [head for head in heads if not values.get(head)]
    if missing:
        example = ", ".join(f"{head}: PATH" for head in heads)
        raise ConfigError(
            f"token_lists: none for the head '{missing[0]}'; give"
            f" 'token_lists: {{{example}}}'"
        )
    lists = {}
    for head in heads:
        value = values[head]
        lists[head] = read_tokens(value) if isinstance(value, str | Path) else [*value]
    if lists[main] != list(main_tokens):
        raise ConfigError(
            f"token_lists.{main}: {len(lists[main])} tokens that are not the token_list"
            f" of {len(main_tokens)}; both belong to the same head"
        )
    return lists
