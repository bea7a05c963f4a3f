"""Numbers as words; num2words for the languages it knows, tables for two more."""

from espnet2_dq.errors import ConfigError

# Zero to nine, ten to ninety, hundred, thousand.
# Kyrgyz and Tatar count alike: tens word, units word; "hundred" and "thousand"
# follow their factor, which is left out when it is one.
_TABLES: dict[str, tuple[str, str, str, str]] = {
    "ky": (
        "нөл бир эки үч төрт беш алты жети сегиз тогуз",
        "он жыйырма отуз кырк элүү алтымыш жетимиш сексен токсон",
        "жүз",
        "миң",
    ),
    "tt": (
        "ноль бер ике өч дүрт биш алты җиде сигез тугыз",
        "ун егерме утыз кырык илле алтмыш җитмеш сиксән туксан",
        "йөз",
        "мең",
    ),
}
_LARGEST = 999_999


def spell_number(number: int, language: str) -> str:
    """``number`` in words (``73`` in ``nl``: "drieënzeventig").

    Raises:
        ConfigError: Nobody here can spell numbers of ``language``, or the number
            is negative or too large for the table.
    """
    if language in _TABLES:
        if not 0 <= number <= _LARGEST:
            raise ConfigError(f"{number}: 0 to {_LARGEST} can be spelt in {language}")
        return (
            " ".join(_spell_turkic(number, language)) or _TABLES[language][0].split()[0]
        )
    import num2words

    try:
        return str(num2words.num2words(number, lang=language))
    except NotImplementedError as error:
        known = sorted({*_TABLES, *num2words.CONVERTER_CLASSES})
        raise ConfigError(
            f"cannot spell numbers of '{language}'. Known: {' '.join(known)}"
        ) from error


def _spell_turkic(number: int, language: str) -> list[str]:
    unit_names, ten_names, hundred, thousand = _TABLES[language]
    words: list[str] = []
    for size, name in ((1000, thousand), (100, hundred)):
        factor, number = divmod(number, size)
        if factor:
            words += [*(_spell_turkic(factor, language) if factor > 1 else []), name]
    if number >= 10:
        words.append(ten_names.split()[number // 10 - 1])
    if number % 10:
        words.append(unit_names.split()[number % 10])
    return words
