"""Token lists: order, specials, coverage."""

import itertools
from pathlib import Path

import pytest

from espnet2_dq.data.sentences import draw_sentences
from espnet2_dq.errors import ConfigError, DataError
from espnet2_dq.text.units import (
    Inventory,
    build_inventory,
    measure_coverage,
    train_sentencepiece,
)


def test_tokens_by_frequency_then_name() -> None:
    units = build_inventory([["b", "a", "c"], ["c", "b"], ["c"]], "phn")
    assert units.tokens == (
        "<blank>",
        "<unk>",
        "<pad>",
        "|",
        "c",
        "b",
        "a",
        "<sos/eos>",
    )


def test_the_paper_counts_five_specials() -> None:
    """169 phonemes make 174 outputs, the blank among them (reading R20)."""
    phones = [f"p{i}" for i in range(169)]
    assert len(build_inventory([phones], "phn").tokens) == 174


def test_order_of_texts_does_not_matter() -> None:
    texts = [["a", "b"], ["b", "c"], ["d"]]
    lists = {build_inventory(p, "char").tokens for p in itertools.permutations(texts)}
    assert len(lists) == 1


def test_min_count_and_unknown() -> None:
    units = build_inventory([["a", "a", "b"]], "char", min_count=2)
    assert units.encode(["a", "b"]) == [3, 1]
    assert units.decode(units.encode(["a", "b"])) == ["a", "<unk>"]


def test_coverage() -> None:
    units = build_inventory([["a", "b"]], "char")
    coverage = measure_coverage(units, [["a", "x"], ["y", "y"]], rejected=3)
    assert (coverage.tokens, coverage.types, coverage.unknown) == (4, 3, 3)
    assert coverage.unknown_types == ("y", "x")
    assert coverage.share == pytest.approx(0.25)
    assert coverage.rejected == 3
    assert measure_coverage(units, [], 0).share == 1


def test_bad_lists() -> None:
    with pytest.raises(DataError, match="no phn token occurs 1 times"):
        build_inventory([], "phn")
    with pytest.raises(DataError, match="'<blank>' of the texts is reserved"):
        build_inventory([["a", "<blank>"]], "phn")
    with pytest.raises(DataError, match="twice"):
        Inventory(("a", "a"))
    with pytest.raises(DataError, match="holds a blank"):
        Inventory(("a", "b c"))


def test_sentencepiece(tmp_path: Path) -> None:
    texts = [
        s.text.lower() for s in itertools.islice(draw_sentences("es", "train", 0), 200)
    ]
    models = [train_sentencepiece(texts, tmp_path / name, 80) for name in ("a", "b")]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    pieces = models[0].encode(texts[0], out_type=str)
    assert "".join(pieces).replace("▁", " ").strip() == texts[0]
    with pytest.raises(ConfigError, match="--bpe_size 5: "):
        train_sentencepiece(texts, tmp_path / "c", 5)
