"""How a width multiplier turns a printed channel count into another."""

from __future__ import annotations

from dataclasses import dataclass

from mncc.language import tree as t


def make_divisible(value: float, divisor: int, keep: float) -> int:
    """The nearest multiple of `divisor`, at least one, raised by one where less than `keep` of the value is left.

    MobileNetV2's rule with divisor 8 and keep 0.9 (`_make_divisible` of the published implementations).
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < keep * value else rounded


@dataclass(frozen=True)
class ChannelRule:
    """The `channels` line: an expression of the column's number, and how its value becomes a whole number."""

    column: str
    expression: t.Expr
    truncate: bool = False
    divisor: int | None = None
    keep: float = 0.0
    minimum: int = 1
    last_minimum: int | None = None

    def rounded(self, value: float, last: bool) -> int | None:
        """The channels that a scaled count becomes; None where it is a fraction and no rounding is said.

        `last` is the last count before the classifier, which has a minimum of its own.
        """
        value = int(value) if self.truncate else value
        if self.divisor is not None:
            value = make_divisible(value, self.divisor, self.keep)
        if value != int(value):
            return None
        count = max(int(value), self.minimum)
        return max(count, self.last_minimum) if last and self.last_minimum is not None else count
