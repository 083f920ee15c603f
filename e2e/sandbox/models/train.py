"""
Owns the recipes: one for each version of the fraud model, from a fixed seed.

Runs in the environment of the model servers. It must not know how models are served or released.
What goes wrong with a version goes wrong by nature, as its `story` tells; nothing is rolled by
dice.
"""

import hashlib
import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sandbox import fraud

SEED = 20260301
TRAINING_ROWS = 12_000
HELD_OUT_ROWS = 8_000
SLOW_TREES = 700
"""The trees are asked one after the other, so the latency of `slow` is proportional to them."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Transactions as arrays: rows by features with NaN for missing, and 1 for each fraud."""

    rows: Any
    is_fraud: Any

    @classmethod
    def of(cls, transactions: Sequence[fraud.Transaction]) -> "Sample":
        """Stack transactions."""
        rows = numpy.array([t.row for t in transactions], dtype=float)
        return cls(rows, numpy.array([t.is_fraud for t in transactions], dtype=int))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one version is made, and what its author looked at before publishing it."""

    version: str
    story: str
    make: Callable[[], Any]
    drops_incomplete_rows: bool = False
    """The author trained and judged it on complete rows only."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model file and the figures its author published with it."""

    version: str
    content: bytes
    figures: dict[str, object]


def _logistic() -> Any:
    return make_pipeline(
        SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=500)
    )


def _histogram_boosting() -> Any:
    return HistGradientBoostingClassifier(max_iter=14, max_leaf_nodes=12, random_state=SEED)


def _boosting() -> Any:
    return GradientBoostingClassifier(
        n_estimators=160, max_depth=4, learning_rate=0.08, subsample=0.7, random_state=SEED
    )


def _longer_histogram_boosting() -> Any:
    return HistGradientBoostingClassifier(max_iter=24, max_leaf_nodes=12, random_state=SEED)


def _forest() -> Any:
    forest = RandomForestClassifier(
        n_estimators=SLOW_TREES, max_samples=0.3, max_leaf_nodes=48, random_state=SEED
    )
    return make_pipeline(SimpleImputer(strategy="median"), forest)


RECIPES = (
    Recipe("1", "logistic regression behind an imputer", _logistic),
    Recipe(
        "2",
        "boosted histograms: sees pairs of features and takes missing values by itself, "
        "so the imputer went",
        _histogram_boosting,
    ),
    Recipe(
        "3",
        "classic boosting, better on the complete rows it was judged on; it takes no missing "
        "values, and nobody brought the imputer back",
        _boosting,
        drops_incomplete_rows=True,
    ),
    # As quick as version 2: an imputer costs more than the trees behind it, and a canary that is
    # slower than stable is another story.
    Recipe(
        "4",
        "back to histograms, which take missing values by themselves, with more trees than "
        "version 2",
        _longer_histogram_boosting,
    ),
    Recipe("slow", f"a forest of {SLOW_TREES} trees, asked one after the other", _forest),
)
BROKEN = "broken"
"""The version whose upload was cut short: its file is the first half of version 2's."""


def train_all() -> list[Trained]:
    """Train every version; the same library versions give the same bytes."""
    training = _draw("train", TRAINING_ROWS)
    held_out = _draw("held-out", HELD_OUT_ROWS)
    trained = [_train(recipe, training, held_out) for recipe in RECIPES]
    second = next(one for one in trained if one.version == "2")
    return [*trained, _cut_short(second)]


def _draw(purpose: str, count: int) -> list[fraud.Transaction]:
    return list(itertools.islice(fraud.stream(purpose, SEED), count))


def _train(
    recipe: Recipe, training: list[fraud.Transaction], held_out: list[fraud.Transaction]
) -> Trained:
    learned_from, judged_on = training, held_out
    if recipe.drops_incomplete_rows:
        learned_from = [t for t in training if t.is_complete]
        judged_on = [t for t in held_out if t.is_complete]
    sample = Sample.of(learned_from)
    model = recipe.make().fit(sample.rows, sample.is_fraud)
    content = io.BytesIO()
    joblib.dump(model, content, compress=3)
    figures: dict[str, object] = {
        "story": recipe.story,
        "trained_on_rows": len(learned_from),
        "judged_on_rows": len(judged_on),
        "auc": _auc(model, judged_on),
        "auc_on_complete_rows": _auc(model, [t for t in held_out if t.is_complete]),
    }
    return _publish(recipe.version, content.getvalue(), figures)


def _auc(model: Any, transactions: list[fraud.Transaction]) -> float:
    sample = Sample.of(transactions)
    scores = model.predict_proba(sample.rows)[:, 1]
    return round(float(roc_auc_score(sample.is_fraud, scores)), 4)


def _cut_short(whole: Trained) -> Trained:
    story = f"version {whole.version}, whose upload was cut short half way"
    return _publish(BROKEN, whole.content[: len(whole.content) // 2], {"story": story})


def _publish(version: str, content: bytes, figures: dict[str, object]) -> Trained:
    identity = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return Trained(version, content, {**figures, **identity})
