"""Options of the trainings that once went wrong."""

from espnet2_dq.config import scientific_numbers


def test_numbers_with_an_exponent_and_no_point_are_numbers():
    # found when "--optim_conf lr=1e-3" ended in TypeError inside AdamW
    given = {"lr": "1e-3", "betas": [0.9, "98E-2"], "amsgrad": False, "name": "e5"}
    assert scientific_numbers({"a": given, "b": "1_e"}) == {
        "a": {"lr": 0.001, "betas": [0.9, 0.98], "amsgrad": False, "name": "e5"},
        "b": "1_e",
    }
