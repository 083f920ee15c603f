"""
Owns the recipes: one for each version of the fraud model, from a fixed seed.

Runs in the environment of the model servers. It must not know how models are served or released.
What goes wrong with a version goes wrong by nature, as its `story` tells; nothing is rolled by
dice.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sandbox import fraud
from sandbox.fraud import TRAINING_SEED as SEED
from sandbox.models.steps import Score, TravelCheck

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
    knows: Callable[[fraud.Transaction], bool] = lambda _: True
    """The rows on which the author trained and judged it."""


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


def _with_categories(feature: str) -> Any:
    # What was not among the values it learned from is refused; that is the encoder's default.
    column = fraud.FEATURES.index(feature)
    encoder = make_column_transformer((OneHotEncoder(sparse_output=False), [column]))
    encoder.set_params(remainder="passthrough")
    return make_pipeline(encoder, _histogram_boosting())


def _counts_as_categories() -> Any:
    return _with_categories("transactions_last_hour")


def _presence_as_category() -> Any:
    return _with_categories("card_present")


def _balanced_histogram_boosting() -> Any:
    return _histogram_boosting().set_params(class_weight="balanced")


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
        knows=lambda transaction: transaction.is_complete,
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
    Recipe(
        "fails-3",
        "takes the payments of the last hour as categories, and nobody had made more than three "
        "where its author looked: one request in thirty-seven is refused",
        _counts_as_categories,
        knows=lambda transaction: transaction["transactions_last_hour"] <= 3,
    ),
    Recipe(
        "fails-half",
        "takes the presence of the card as a category, and learned from payments in shops: it "
        "refuses all others, nearly half",
        _presence_as_category,
        knows=lambda transaction: transaction["card_present"] == 1,
    ),
    Recipe(
        "slow-tail",
        "version 2 that looks up where the card was last seen, for one request in twenty-five",
        lambda: TravelCheck(_histogram_boosting()),
    ),
    Recipe(
        "shifted",
        "version 2, trained as if half of all payments were fraud, and never calibrated back: "
        "no worse in order, but it says fraud five times as often",
        _balanced_histogram_boosting,
    ),
    Recipe(
        "score",
        "version 2 that answers the probability of fraud instead of a verdict",
        lambda: Score(_histogram_boosting()),
    ),
    Recipe(
        "shifted-score",
        "the shifted version that answers what it takes for the probability of fraud",
        lambda: Score(_balanced_histogram_boosting()),
    ),
)
BROKEN = "broken"
"""The version whose upload was cut short: its file is the first half of version 2's."""


def train_all() -> list[Trained]:
    """Train every version; the same library versions give the same bytes."""
    training = fraud.training()
    held_out = fraud.take("held-out", SEED, HELD_OUT_ROWS)
    trained = [_train(recipe, training, held_out) for recipe in RECIPES]
    second = next(one for one in trained if one.version == "2")
    return [*trained, _cut_short(second)]


def _train(
    recipe: Recipe, training: list[fraud.Transaction], held_out: list[fraud.Transaction]
) -> Trained:
    learned_from = [t for t in training if recipe.knows(t)]
    judged_on = [t for t in held_out if recipe.knows(t)]
    sample = Sample.of(learned_from)
    model = recipe.make().fit(sample.rows, sample.is_fraud)
    content = io.BytesIO()
    joblib.dump(model, content, compress=3)
    figures: dict[str, object] = {
        "story": recipe.story,
        "trained_on_rows": len(learned_from),
        "judged_on_rows": len(judged_on),
        "auc": _auc(model, judged_on),
        "auc_on_complete_rows": _auc(model, [t for t in judged_on if t.is_complete]),
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
