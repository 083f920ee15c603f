"""
Owns the card transactions of the stories: what is measured of each, and how fraud depends on it.

One generator serves training and load, so that what a model meets in traffic is what it was made
for, missing values included. It is plain Python: the load client has no numerical libraries. It
must not know models, HTTP or the cluster.
"""

import csv
import enum
import io
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

FEATURES = (
    "amount_eur",
    "amount_to_usual_ratio",
    "hour",
    "transactions_last_hour",
    "distance_km",
    "merchant_age_days",
    "card_present",
    "foreign",
)
TRAINING_SEED = 20260301
TRAINING_ROWS = 12_000
MISSING_RATIO = 0.10
"""Share of transactions whose acquirer does not report `merchant_age_days`."""

Row = tuple[float | None, ...]
"""One value for each of FEATURES, in their order; None is a value that was not reported."""


class Season(enum.StrEnum):
    """What people buy, and where; models are trained on the usual."""

    USUAL = "usual"
    SALE = "sale"
    """Larger amounts, from farther away."""


_SALE = {"amount_eur": 2.5, "amount_to_usual_ratio": 2.5, "distance_km": 4.0}


@dataclass(frozen=True, slots=True)
class Transaction:
    """One card payment as the model sees it, and what it turned out to be."""

    row: Row
    is_fraud: bool

    @property
    def is_complete(self) -> bool:
        """Tell whether every value was reported."""
        return None not in self.row

    def __getitem__(self, feature: str) -> float:
        """Give the value of a feature; NaN if it was not reported."""
        value = self.row[FEATURES.index(feature)]
        return math.nan if value is None else value


def stream(purpose: str, seed: int) -> Iterator[Transaction]:
    """
    Yield transactions without end, the same ones for the same purpose and seed.

    Purposes keep the streams apart: `stream("load", 1)` shares no row with `stream("train", 1)`.
    """
    chance = Random(f"{purpose}/{seed}")
    while True:
        yield draw(chance)


def take(purpose: str, seed: int, count: int) -> list[Transaction]:
    """Take the first transactions of a stream."""
    return list(itertools.islice(stream(purpose, seed), count))


def training() -> list[Transaction]:
    """Take what every version of the model could learn from."""
    return take("train", TRAINING_SEED, TRAINING_ROWS)


def in_season(row: Row, season: Season) -> Row:
    """Return the transaction as it would be in a season: some values times a constant."""
    if season is Season.USUAL:
        return row
    return tuple(
        value if value is None else round(value * _SALE.get(feature, 1.0), 3)
        for feature, value in zip(FEATURES, row, strict=True)
    )


def render_csv(transactions: Iterable[Transaction]) -> str:
    """Write the features under their names, in their order; a value not reported is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FEATURES)
    writer.writerows(transaction.row for transaction in transactions)
    return text.getvalue()


def draw(chance: Random) -> Transaction:
    """Draw one transaction; about one in eighteen is fraud."""
    usual = math.exp(chance.gauss(3.4, 0.6))
    ratio = math.exp(chance.gauss(0.0, 0.7))
    hour = float(int(chance.triangular(0, 24, 15)))
    burst = float(min(int(chance.expovariate(0.9)), 12))
    present = 1.0 if chance.random() < 0.55 else 0.0
    foreign = 1.0 if chance.random() < 0.12 else 0.0
    distance = chance.expovariate(1 / 12) + (chance.expovariate(1 / 1500) if foreign else 0.0)
    age = chance.expovariate(1 / 900)
    odds = _fraud_log_odds(usual * ratio, ratio, hour, burst, distance, age, present, foreign)
    is_fraud = chance.random() < 1 / (1 + math.exp(-odds))
    is_missing = chance.random() < MISSING_RATIO
    row = (
        round(usual * ratio, 2),
        round(ratio, 3),
        hour,
        burst,
        round(distance, 1),
        None if is_missing else round(age, 1),
        present,
        foreign,
    )
    return Transaction(row, is_fraud)


def _fraud_log_odds(
    amount: float,
    ratio: float,
    hour: float,
    burst: float,
    distance: float,
    age: float,
    present: float,
    foreign: float,
) -> float:
    """
    Weigh the circumstances; most of the signal lies in pairs, which a linear model cannot see.

    The numbers are settings of the story, chosen so that a linear model reaches an AUC of some
    0.90 and boosted trees some 0.94.
    """
    new_shop = math.exp(-age / 200)
    night = 1.0 if hour < 5 or hour >= 23 else 0.0
    odds = -7.0 + 0.5 * math.log1p(amount) + 0.3 * burst
    odds += 5.5 * new_shop * (1 - present)
    odds += 4.0 * night * (1 if ratio > 1.5 else 0)
    odds += 4.5 * foreign * (1 - present) * (1 if distance > 400 else 0)
    odds += 4.0 * (1 if burst >= 3 and amount < 15 else 0)
    odds -= 2.0 * present * (1 if distance < 20 else 0)
    return odds
