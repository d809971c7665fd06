"""Third-party models whose hyperparameters are lists, tuples and values that may be none."""

from __future__ import annotations

import enum
from typing import Literal

from tests.plugins.tiny import Leaky, Parity


class Mixed(Leaky):
    """Refuses whatever is not of the annotated type."""

    def __init__(
        self, input_size, hidden_size, *, engine="auto", rate: float = 0.5, xs: tuple = (1, 2), ls: list = [1, 2],  # noqa: B006
        sizes: list[int] = [3], rates: tuple[float, ...] = (0.5, 1), pair: tuple[int, str] = (1, "a"),  # noqa: B006
        cap: int | None = 4, deep: list[tuple[int, ...]] | None = None, bare=(1, 2), word: str | None = None,
    ):  # fmt: skip
        super().__init__(input_size, hidden_size, engine=engine, rate=rate)
        kinds = [type(one) for one in (xs, ls, sizes, rates, pair, bare)]
        assert kinds == [tuple, list, list, tuple, tuple, tuple], kinds
        assert all(type(one) is float for one in rates) and all(type(one) is tuple for one in deep or [])
        self.given = {"xs": xs, "ls": ls, "sizes": sizes, "rates": rates, "pair": pair, "cap": cap, "deep": deep}
        ls.append(0)  # a list of another run's would grow


class Shade(enum.Enum):
    """What no record holds."""

    DARK = 1


class Wrong(Leaky):
    """A default that its annotation does not allow."""

    def __init__(self, input_size, hidden_size, *, engine="auto", sizes: list[int] = ["a"]):  # noqa: B006
        super().__init__(input_size, hidden_size, engine=engine)


class Shaded(Leaky):
    """A default that no record can hold."""

    def __init__(self, input_size, hidden_size, *, engine="auto", shade: Shade = Shade.DARK):
        super().__init__(input_size, hidden_size, engine=engine)


class Named(Leaky):
    """``none`` is one of its words."""

    def __init__(self, input_size, hidden_size, *, engine="auto", mode: Literal["none", "all"] | None = "all"):
        super().__init__(input_size, hidden_size, engine=engine)


class Parts(Parity):
    """A task with a tuple among its options."""

    def __init__(self, *, seed, data_dir=None, length: int = 6, parts: tuple[int, ...] = (1, 2)):
        super().__init__(seed=seed, data_dir=data_dir, length=length)
        assert type(parts) is tuple

    @classmethod
    def requires(cls, **options):
        assert type(options["parts"]) is tuple
        return ()

    @classmethod
    def test_moves(cls, **options):
        return type(options["parts"]) is tuple
