"""Laying configurations over each other, for any nested mappings."""

from hypothesis import given
from hypothesis import strategies as st

from espnet2_dq.recipe.overlay import deep_merge, lay_over

LEAVES = st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
KEYS = st.sampled_from("abc")
CONFIGS = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=3),
    lambda inner: st.dictionaries(KEYS, LEAVES | inner, max_size=3),
    max_leaves=8,
)


def leaves(config, path=()):
    """Paths of what is no mapping, with the value."""
    for key, value in config.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def at(config, path):
    for key in path:
        config = config[key]
    return config


@given(CONFIGS)
def test_nothing_laid_over_changes_nothing(config):
    assert deep_merge(config, {}) == config
    assert deep_merge({}, config) == config
    assert deep_merge(config, config) == config


@given(CONFIGS, CONFIGS)
def test_every_value_of_the_overlay_stands_in_the_result(base, over):
    merged = deep_merge(base, over)
    for path, value in leaves(over):
        if value != {}:
            assert at(merged, path) == value
    assert merged.keys() == base.keys() | over.keys()


@given(CONFIGS, CONFIGS)
def test_what_only_the_base_has_stays(base, over):
    merged = deep_merge(base, over)
    for path, value in leaves(base):
        if not any(key[: len(path)] == path or path[: len(key)] == key
                   for key, _ in leaves(over)):  # fmt: skip
            assert at(merged, path) == value


@given(CONFIGS, CONFIGS, CONFIGS)
def test_the_last_overlay_wins_whatever_lies_below(a, b, c):
    merged = deep_merge(deep_merge(a, b), c)
    for path, value in leaves(c):
        if value != {}:
            assert at(merged, path) == value


@given(CONFIGS, CONFIGS, st.sampled_from([None, "data2vec", "wav2vec2"]))
def test_model_conf_of_another_objective_never_stays(base, over, objective):
    ours = {**base, "model_conf": {"only_mine": 1}}
    theirs = {**over, "objective": objective} if objective else dict(over)
    merged = lay_over(ours, theirs)
    kept = "only_mine" in merged.get("model_conf", {})
    assert kept == (objective != "wav2vec2")
