"""Errors like a recogniser's in phoneme sequences, for training on clean ones."""

from dataclasses import dataclass

import torch

from espnet2_dq.errors import ConfigError


@dataclass(frozen=True)
class PhoneNoise:
    """Rates of errors among the phonemes of a batch, on average.

    Every sentence gets its own level, uniform between none and twice these rates: a
    recogniser leaves some sentences clean and garbles others. A phoneme that replaces
    another or is put in is drawn from the same sentence, and so is one of the
    language, as frequent as it is spoken.

    Attributes:
        substitution: Share of phonemes replaced.
        deletion: Share of phonemes dropped.
        insertion: Phonemes put in, relative to their number.
    """

    substitution: float = 0.1
    deletion: float = 0.05
    insertion: float = 0.03

    def __post_init__(self) -> None:
        """Refuse rates that are no shares at twice their value."""
        rates = {name: getattr(self, name) for name in self.__dataclass_fields__}
        low = [name for name, rate in rates.items() if rate < 0.0]
        if low:
            raise ConfigError(
                f"model_conf.noise.{low[0]}: {rates[low[0]]}; 0 (off) or above"
            )
        if self.substitution + self.deletion > 0.5 or self.insertion > 0.5:
            raise ConfigError(
                "model_conf.noise: substitution + deletion and insertion are at most"
                f" 0.5 each, since a sentence may get twice the rate; got {rates}"
            )

    @property
    def off(self) -> bool:
        """Whether nothing is ever changed."""
        return self.substitution == self.deletion == self.insertion == 0.0


def add_phone_noise(
    phones: torch.Tensor,
    lengths: torch.Tensor,
    noise: PhoneNoise,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Replace, drop and put in phonemes; the first token, a tag, stays.

    Args:
        phones: ``(B, L)`` int64 ids, padding of any value.
        lengths: ``(B,)``, at least 1.
        noise: Rates.
        generator: Random numbers; None: torch's own.

    Returns:
        ``(B, L')`` padded with -1, and ``(B,)``.
    """
    batch, longest = phones.shape
    place = torch.arange(longest, device=phones.device).expand(batch, longest)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator, device=phones.device)

    def others() -> torch.Tensor:
        """A phoneme of the same sentence for every place, never the tag."""
        number = draw(batch, longest) * (lengths - 1).unsqueeze(1)
        return phones.gather(1, (1 + number.long()).clamp(max=longest - 1))

    level = 2.0 * draw(batch, 1)
    inside = (place < lengths.unsqueeze(1)) & (lengths > 1).unsqueeze(1)
    spoken, chance = inside & (place > 0), draw(batch, longest)
    dropped = spoken & (chance < level * noise.deletion)
    replaced = spoken & (chance >= 1.0 - level * noise.substitution)
    added = inside & (draw(batch, longest) < level * noise.insertion)
    kept = (place < lengths.unsqueeze(1)) & ~dropped
    # (B, L, 2): each place and what is put in after it -> (B, 2 L)
    tokens = torch.stack([torch.where(replaced, others(), phones), others()], dim=2)
    chosen = torch.stack([kept, added], dim=2).flatten(1)
    order = (~chosen).long().argsort(dim=1, stable=True)
    new_lengths = chosen.sum(1)
    compact = tokens.flatten(1).gather(1, order)[:, : int(new_lengths.max())]
    columns = torch.arange(compact.size(1), device=phones.device)
    return compact.masked_fill(columns >= new_lengths.unsqueeze(1), -1), new_lengths
