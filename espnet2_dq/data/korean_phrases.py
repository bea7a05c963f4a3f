"""Fixed Korean words around the names in spoken sentences: phrases, fillers, units."""

import functools

from espnet2_dq.data.number_words import spell_number

# Noise tags and fillers of KsponSpeech's transcriptions.
TAGS = ("b/", "n/", "l/", "o/", "u/")
FILLERS = ("아", "어", "음", "그", "뭐")
_NUMBERS = "한 두 세 네 다섯 여섯 일곱 여덟 아홉 열 열한 열두"
NATIVE_NUMBERS = tuple(_NUMBERS.split())  # one to twelve, before a counter
_KNOWN = "PC TV CD IT AI LG SK KBS MBC SNS PD CCTV"
ACRONYMS = tuple(_KNOWN.split())
_LETTER_NAMES = (
    "에이 비 씨 디 이 에프 지 에이치 아이 제이 케이 엘 엠 엔 오 피 큐 알 에스 티 유 "
    "브이 더블유 엑스 와이 제트"
)
LETTER_NAMES = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        _LETTER_NAMES.split(),
        strict=True,
    )
)
UNITS = {"portions": "인분", "year": "년", "percent": "퍼센트"}
# Particles that do not depend on the sound before.
PHRASES = (
    "{city}에서 {city}까지 {hours} 걸려요",
    "{dish} {portions} 하고 {dish} 주세요",
    "{given} 씨 직업이 {occupation} 맞아요",
    "{given} 씨도 {university}에서 공부했어요",
    "{clock}에 {city}에서 만나요",
    "{year}에 {place} 갔다 왔어요",
    "{clock}까지 {dish} 먹으러 갈까요",
    "{noun} 얘기보다 {noun} 얘기부터 하고 싶어요",
    "{city} 사람들도 {dish} 진짜 좋아해요",
    "{acronym}에서 {noun} 하고 {noun} 봤어요",
    "{university} 근처에서 {dish} 먹었어요",
    "{occupation} 중에서 {percent} 정도만 그렇게 말해요",
    "{place}에서 {place}까지 비행기 타고 갔어요",
    "{noun} 때문에 {given} 씨한테 전화했어요",
)


@functools.cache
def fixed_syllables() -> frozenset[str]:
    """Every character that a phrase may bring into any set."""
    numbers = (spell_number(n, "ko") for n in (*range(101), *range(1950, 2026)))
    parts = (*FILLERS, *NATIVE_NUMBERS, *LETTER_NAMES.values(), *UNITS.values())
    return frozenset("".join((*PHRASES, *parts, *numbers)) + "시분간")
