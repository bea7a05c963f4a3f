"""Functions compiled by numba, with the result kept on disk where that is possible."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Compile a function at its first call.

    The machine code is kept beside the module, else (an installed package may be
    read-only) in the user's cache directory, or where ``NUMBA_CACHE_DIR`` says. Where
    nothing can be written at all, each process compiles anew.
    """
    try:
        return cast(_Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError as error:  # numba found no directory to write to
        if "no locator available" not in str(error):
            raise
        return cast(_Function, numba.njit(nogil=True)(function))
