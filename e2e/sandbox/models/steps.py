"""
Owns the parts of a model that no library has; a model file names them by this module's path.

Runs in the environment of the model servers. It must not know versions, servers or the cluster.
"""

import time
from typing import Any, Self

import numpy

from sandbox import fraud

LOOKUP_SECONDS = 0.4
FAR_KM = 400.0

_PRESENT = fraud.FEATURES.index("card_present")
_FOREIGN = fraud.FEATURES.index("foreign")
_DISTANCE = fraud.FEATURES.index("distance_km")


class Score:
    """A classifier whose answer is the probability of fraud, not a verdict."""

    def __init__(self, classifier: Any) -> None:
        """Take the classifier, fitted or not."""
        self.classifier = classifier

    def fit(self, rows: Any, is_fraud: Any) -> Self:
        """Fit the classifier."""
        self.classifier.fit(rows, is_fraud)
        return self

    def predict(self, rows: Any) -> Any:
        """Answer with one number for each row, 0..1."""
        return self.predict_proba(rows)[:, 1].round(6)

    def predict_proba(self, rows: Any) -> Any:
        """Answer as the classifier does."""
        return self.classifier.predict_proba(rows)


class TravelCheck:
    """
    A classifier that looks up where a card was last seen, where that matters.

    That is the case for a foreign payment far away without the card, one in twenty-five. There is
    nobody to ask in the embedded world, so the look-up is only its wait.
    """

    waits = True
    """Its server lets other requests go on meanwhile."""

    def __init__(self, classifier: Any) -> None:
        """Take the classifier, fitted or not."""
        self.classifier = classifier

    def fit(self, rows: Any, is_fraud: Any) -> Self:
        """Fit the classifier; the past needs no look-up."""
        self.classifier.fit(rows, is_fraud)
        return self

    def predict(self, rows: Any) -> Any:
        """Look up what matters, then answer as the classifier does."""
        for row in numpy.asarray(rows):
            if row[_FOREIGN] and not row[_PRESENT] and row[_DISTANCE] > FAR_KM:
                time.sleep(LOOKUP_SECONDS)
        return self.classifier.predict(rows)

    def predict_proba(self, rows: Any) -> Any:
        """Answer as the classifier does; this is for judging, without look-ups."""
        return self.classifier.predict_proba(rows)
