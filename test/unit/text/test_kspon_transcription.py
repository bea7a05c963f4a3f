"""Rules of Korean transcriptions, against METHODS 7.4 and hand-made lines."""

import pytest

from espnet2_dq.errors import ConfigError
from espnet2_dq.text.kspon_transcription import (
    TextRejected,
    clean_plain,
    clean_transcription,
)

PUBLISHED = (
    "(70%)/(칠 십 퍼센트) 확률이라니 b/ (뭐 뭔)/(모 몬) 소리야 진짜 "
    "(100%)/(백 프로)가 왜 안돼?"
)


def test_published_example() -> None:
    assert clean_transcription(PUBLISHED) == (
        "70% 확률이라니 뭐 뭔 소리야 진짜 100%가 왜 안돼"
    )
    assert clean_transcription(PUBLISHED, "phonetic") == (
        "칠 십 퍼센트 확률이라니 모 몬 소리야 진짜 백 프로가 왜 안돼"
    )


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("o/ 아 n/ 네 u/ 좀 b/ 더 l/", "아 네 좀 더"),
        ("아/ 그/ 그래+ 그래.", "아 그 그래 그래"),
        ("b/b/가", "가"),
        ("전화는 #이 아니라 *이요", "전화는 샾이 아니라 이요"),
        ("100% 가", "100% 가"),
        ("뭐야?! 진짜...", "뭐야 진짜"),
        ("a-b c_d 가~ “나” …", "AB CD 가 나"),
        ("ㅋㅋ 아 ㅠㅠ", "ㅋㅋ 아 ㅠㅠ"),
        ("(tv)/(티비)를 켜", "TV를 켜"),
        ("(lab l)/(랩 엘) 가", "LAB L 가"),
        ("(A)/(에이) (B)/(비)", None),
        ("(일) / (이) 가", "일 가"),
        ("(일)(이) 가", "일 가"),
        ("()/(이) 가", "가"),
        ("  가 \t 나\n", "가 나"),
        ("가\u200b\ufeff나\u00ad", "가나"),
        ("７０％ ＴＶ 가", "70% TV 가"),
        ("（70%）／（칠십 퍼센트） 가", "70% 가"),
        ("\u1100\u1161\u11a8", "각"),
    ],
)
def test_orthographic(line: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(TextRejected, match="non-Korean text"):
            clean_transcription(line)
    else:
        assert clean_transcription(line) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [("087797", "백 퍼센트 가"), ("501006", "백 프로 가"), ("542363", "백 프로 가")],
)
def test_percent_of_the_eight_files(number: str, text: str) -> None:
    line = "(100 %)/(백 %) 가"
    assert clean_transcription(line, "phonetic", number) == text
    assert clean_transcription(line, "orthographic", number) == "100 % 가"


def test_percent_of_other_files_never_crashes() -> None:
    line = "(100%)/(백%) 가"
    with pytest.raises(TextRejected) as caught:
        clean_transcription(line, "phonetic", "000001")
    assert caught.value.reason.startswith("unreadable percent: '%' in the phonetic")
    dropped = clean_transcription(line, "phonetic", "000001", percent="drop")
    assert dropped == "백 가"
    # a '%' that the phonetic reading leaves out is no trouble
    assert clean_transcription("(1%)/(일 프로) 가", "phonetic") == "일 프로 가"


@pytest.mark.parametrize("rule", ["orthographic", "phonetic"])
@pytest.mark.parametrize(
    "line",
    [
        "(70%/(칠 십) 가",
        "(70%)/(칠 십 가",
        "70%)/(칠 십) 가",
        "가) 나",
        "(가 나",
        "(웃음) 가",  # one reading: which is missing?
        "((가)/(나))/(다)",
    ],
)
def test_brackets_without_a_partner(line: str, rule: str) -> None:
    with pytest.raises(TextRejected) as caught:
        clean_transcription(line, rule)
    assert caught.value.reason.startswith("unbalanced brackets: ")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("", "empty transcript"),
        ("b/ ...", "empty transcript"),
        ("o/ ()/()", "empty transcript"),
        ("ok", "non-Korean text"),
        ("100%", "non-Korean text"),
        ("漢字", "non-Korean text"),
    ],
)
def test_nothing_korean_left(line: str, kind: str) -> None:
    with pytest.raises(TextRejected) as caught:
        clean_transcription(line)
    assert caught.value.reason.startswith(f"{kind}: ")
    with pytest.raises(TextRejected) as caught:
        clean_plain(line.replace("()", "").replace("b/", "").replace("o/", ""))
    assert caught.value.reason.startswith(f"{kind}: ")


def test_a_hash_is_said() -> None:
    assert clean_transcription("#") == "샾"


def test_unknown_settings() -> None:
    with pytest.raises(ConfigError, match="rule 'spelling': expected one of ortho"):
        clean_transcription("가", "spelling")
    with pytest.raises(ConfigError, match="percent 'keep': expected one of reject"):
        clean_transcription("가", percent="keep")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("네, 2명이요!", "네 2명이요"),
        ("vip룸  있어요?", "VIP룸 있어요"),
        ("(가)/(나) 100%", "가나 100"),
        ("\u1112\u1161\u11ab", "한"),
        ("ㅋㅋ", "ㅋㅋ"),
    ],
)
def test_plain(line: str, text: str) -> None:
    assert clean_plain(line) == text
