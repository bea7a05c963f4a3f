"""The parser of the recorded prompts' transcripts."""

import pytest

from espnet2_dq.data.prompts import clashing_ids, clean_prompt, parse_prompts
from espnet2_dq.text.characters import TextRejected


@pytest.mark.parametrize(
    ("text", "lang", "expected"),
    [
        ("Press 1 to accept.", "en", "Press one to accept."),
        ("Marque 12", "es", "Marque doce"),
        ("dash [-]", "en", "dash"),
        ("[!] punto esclamativo", "it", "punto esclamativo"),
        ("spazio []", "it", "spazio"),
        ("il (enfatico) capo", "it", "il capo"),
        ("Pour (emphase)", "fr", "Pour"),
        ("Su Contrasena manana", "es", "Su Contraseña mañana"),
        ("a/menu: Нажмите решётку", "ru", "Нажмите решётку"),
        ("The number  was...", "en", "The number was..."),
    ],
)
def test_clean(text: str, lang: str, expected: str) -> None:
    assert clean_prompt(text, "a/menu", lang) == expected


@pytest.mark.parametrize(
    ("text", "lang", "kind"),
    [
        ("", "en", "empty transcript"),
        ("[ascending tones]", "en", "no speech"),
        ("<beep ascending>", "en", "no speech"),
        ("(10 seconds of silence)", "en", "no speech"),
        ("...", "en", "no speech"),
        ("IAX (nota: non dice due)", "it", "unclear brackets"),
        ("Il [suo] messaggio", "it", "unclear brackets"),
        ("half [open", "en", "unclear brackets"),
        ("dial 500 now", "en", "unclear number"),
        ("3D audio", "en", "unclear number"),
        ("press #", "en", "foreign characters"),
        ("нажмите q", "ru", "foreign characters"),
        ("x", "en", "letter name"),
    ],
)
def test_refused(text: str, lang: str, kind: str) -> None:
    with pytest.raises(TextRejected) as caught:
        clean_prompt(text, "id", lang)
    assert caught.value.reason.startswith(f"{kind}: ")


def test_file() -> None:
    raw = (
        "\ufeff; a comment\n\nagent-pass: Enter: your password.\r\n"
        "letters/at: at [@]\nbeep: [tone]\nletters/O: big\nletters/o: small\n"
        "digits/0: zero\ndigits/0: ten\nno colon here\nempty:\n"
    ).encode()
    prompts = parse_prompts(raw, "en")
    assert prompts.texts == {"agent-pass": "Enter: your password.", "letters/at": "at"}
    kinds = {(prompt, why.partition(":")[0]) for prompt, why in prompts.rejects}
    assert kinds == {
        ("beep", "no speech"),
        ("letters/O", "ambiguous id"),
        ("letters/o", "ambiguous id"),
        ("digits/0", "ambiguous id"),
        ("no colon here", "empty transcript"),
        ("empty", "empty transcript"),
    }


def test_clashes() -> None:
    assert clashing_ids(["a", "b", "B", "c", "c"]) == {
        "b": "differs from another in case only",
        "B": "differs from another in case only",
        "c": "occurs twice",
    }
