"""Overlays: which sections apply, how they are laid, what is refused."""

import pytest
import yaml

from espnet2_dq.errors import ConfigError
from espnet2_dq.recipe.overlay import (
    deep_merge,
    lay_over,
    merged_config,
    overlay_files,
    overlay_layers,
    size_of,
)


@pytest.fixture
def rows(tmp_path):
    """Write rows and a base configuration; returns a function that writes one more."""

    def write(name, text):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return path

    write(
        "train_ssl_mini_conv",
        "max_epoch: 5\nlanguage_power: 0.5\n"
        "model_conf: {autocast: none, language: {layers: [2, 3], groups: 2}}\n",
    )
    return write


def sections(path, size):
    return [(layer.file.stem, layer.section) for layer in overlay_layers(path, size)]


def test_sections_go_from_the_wider_to_the_narrower(rows):
    path = rows("a", "mini_conv: {x: 1}\nall: {x: 2}\nmini: {x: 3}\nbase: {x: 4}\n")
    assert sections(path, "mini_conv") == [
        ("a", "all"),
        ("a", "mini"),
        ("a", "mini_conv"),
    ]
    assert sections(path, "mini") == [("a", "all"), ("a", "mini")]
    assert sections(path, "base_1gpu") == [("a", "all"), ("a", "base")]
    assert sections(path, "") == sections(path, "large") == [("a", "all")]


def test_what_a_row_extends_is_laid_before_it(rows):
    rows("a", "all: {max_epoch: 1, seed: 1}\nmini: {max_epoch: 2}\n")
    rows("b", "extends: a\nall: {max_epoch: 3}\n")
    path = rows("c", "extends: b\nmini: {seed: 4}\n")
    assert [file.stem for file in overlay_files(path)] == ["a", "b", "c"]
    merged = merged_config(rows("train_ssl_mini", "batch_seconds: 8\n"), path)
    assert merged.values == {"batch_seconds": 8, "max_epoch": 3, "seed": 4}


def test_merging_leaves_what_the_row_does_not_name(rows, tmp_path):
    path = rows("a", "all: {model_conf: {language: {groups: 1}}, language_power: 1.0}")
    merged = merged_config(tmp_path / "train_ssl_mini_conv.yaml", path)
    assert merged.values == {
        "max_epoch": 5,
        "language_power": 1.0,
        "model_conf": {"autocast": "none", "language": {"layers": [2, 3], "groups": 1}},
    }


def test_another_objective_starts_with_an_empty_model_conf(rows, tmp_path):
    base = tmp_path / "train_ssl_mini_conv.yaml"
    other = rows("w", "all: {objective: wav2vec2, model_conf: {final_dim: 8}}")
    assert merged_config(base, other).values["model_conf"] == {"final_dim": 8}
    more = rows("v", "extends: w\nmini: {model_conf: {negatives: 3}}")
    conf = {"final_dim": 8, "negatives": 3}
    assert merged_config(base, more).values["model_conf"] == conf


def test_the_same_objective_named_keeps_model_conf():
    base = {"model_conf": {"a": 1}}
    named = lay_over(base, {"objective": "data2vec"})
    assert named == {"objective": "data2vec", "model_conf": {"a": 1}}


def test_neither_side_is_changed_by_merging():
    base, over = {"a": {"b": [1]}}, {"a": {"c": [2]}}
    merged = deep_merge(base, over)
    merged["a"]["b"].append(3)
    merged["a"]["c"].append(4)
    assert base == {"a": {"b": [1]}}
    assert over == {"a": {"c": [2]}}


def test_the_merged_file_reads_back_and_names_its_sources(rows, tmp_path):
    path = rows("a", "all: {optim_conf: {lr: 2.0e-4}, time_mask: null}")
    merged = merged_config(tmp_path / "train_ssl_mini_conv.yaml", path)
    merged.write(tmp_path / "exp" / "merged.yaml")
    text = (tmp_path / "exp" / "merged.yaml").read_text()
    assert yaml.safe_load(text) == merged.values
    assert "train_ssl_mini_conv.yaml, over it" in text.splitlines()[0]
    assert "a.yaml (all)" in text.splitlines()[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("language_power: 1.0", "unknown key 'language_power'"),
        ("mimi: {a: 1}", "Did you mean 'mini'?"),
        ("all: 3", "all: expected a mapping, got 3"),
        ("extends: 3", "extends: expected a name"),
        ("extends: nobody", "nobody.yaml: cannot be read"),
        ("extends: a", "extends itself: a -> a"),
        ("- 1", "expected keys and values"),
        ("all: {", "not YAML"),
    ],
)
def test_mistakes_are_named(rows, text, message):
    with pytest.raises(ConfigError) as caught:
        overlay_layers(rows("a", text), "mini")
    assert message in str(caught.value)


def test_size_is_read_from_the_name(tmp_path):
    assert size_of(tmp_path / "train_ssl_base_1gpu.yaml") == "base_1gpu"
    assert size_of(tmp_path / "mine.yaml") == ""
