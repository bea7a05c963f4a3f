"""Where the 20 ms frames of a frontend lie in time."""

from collections.abc import Iterable
from typing import Any

SAMPLE_RATE_HZ = 16000
KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)


class FrameGrid:
    """Frame arithmetic of a stack of unpadded convolutions.

    Frame ``t`` sees the samples ``[hop * t, hop * t + receptive_field)``. The default
    is wav2vec 2.0's stack: hop 320 (20 ms) and receptive field 400 (25 ms) at 16 kHz.

    >>> grid = FrameGrid()
    >>> grid.hop, grid.receptive_field, grid.num_frames(16000)
    (320, 400, 49)
    """

    def __init__(
        self, kernels: Iterable[int] = KERNELS, strides: Iterable[int] = STRIDES
    ) -> None:
        self.hop = 1
        self.receptive_field = 1
        for kernel, stride in zip(kernels, strides, strict=True):
            self.receptive_field += (kernel - 1) * self.hop
            self.hop *= stride

    def num_frames(self, samples: Any) -> Any:
        """Number of whole frames in ``samples``; 0 where the audio is too short.

        Args:
            samples: int, or an integer array or tensor of any shape.

        Returns:
            The same kind and shape as ``samples``. Nested floors of a convolution
            stack collapse into this one floor because no layer is padded.
        """
        frames = (samples - self.receptive_field) // self.hop + 1
        return max(0, frames) if isinstance(frames, int) else frames.clip(min=0)

    def centre_s(self, frame: Any) -> Any:
        """Time in seconds of the centre of ``frame`` (a number, array or tensor)."""
        return (self.hop * frame + self.receptive_field / 2) / SAMPLE_RATE_HZ
