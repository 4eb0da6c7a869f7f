"""U: the objective that a search maximises, in nats per example (`sum`: in nats over all examples).

    U = P - I / alpha           P by one of the measures below, I the number of contradicting pairs

Dividing the paper's alpha * P - I by alpha changes no comparison and makes U of different alpha comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates, log_sums, smoothed_shifts

Measure = Literal["information", "logprob", "sum", "margin"]
MEASURES: tuple[str, ...] = get_args(Measure)

NO_SPREAD = 1e-4
"""Standard deviation in nats below which a label's scores count as all the same: what differs is the rounding of an
engine's numbers, which have single precision at best."""


@dataclass(frozen=True)
class Objective:
    """Computes U from the log-probabilities of a pass.

    information   what the other examples say about a label, were all labels equally frequent: the mean over the labels
                  of the mean log p(y_i) of the examples with that label, + ln C. p is renormalised over the labels, and
                  freed of the label rates and of how much the model likes each label word: `even_posteriors`. A
                  constant labelling has 0. At even rates it is log p(y_i) + the entropy of the labels, an
                  estimate of their mutual information with the other examples.
    logprob       mean log p(y_i), raw
    sum           sum log p(y_i), raw: the paper's formula (every added label lowers it)
    margin        mean of log p(y_i) - log of the best other label: the authors' code
    """

    measure: Measure = "information"
    alpha: float = 50.0

    def u(self, logprobs: Array, labels: Ints, num_contradictions: int, contexts: Ints | None = None) -> float:
        """U of `labels` [n] under `logprobs` [n, C] of the same examples; `contexts` is that of
        `information_by_example`."""
        return self.u_of(self.predictability(logprobs, labels, contexts), num_contradictions)

    def u_of(self, predictability: float, num_contradictions: int) -> float:
        """U of labels of this P."""
        return predictability - num_contradictions / self.alpha

    def predictability(self, logprobs: Array, labels: Ints, contexts: Ints | None = None) -> float:
        """P of `labels` [n] under raw `logprobs` [n, C]."""
        own = logprobs[np.arange(len(labels)), labels]
        if self.measure == "logprob":
            return float(own.mean())
        if self.measure == "sum":
            return float(own.sum())
        if self.measure == "margin":
            return float(margins(logprobs, labels).mean())
        return information(logprobs, labels, contexts)

    def of_all(self, u: float, share: float) -> float:
        """Extrapolates U of a `share` of the examples to all of them: a sum grows with their number, a mean does
        not."""
        return u / share if self.measure == "sum" else u


def information(logprobs: Array, labels: Ints, contexts: Ints | None = None) -> float:
    """The measure `information` of `labels` [n] under `logprobs` [n, C]."""
    return float(information_by_example(logprobs, labels, contexts).mean())


def information_by_example(logprobs: Array, labels: Ints, contexts: Ints | None = None) -> Array:
    """What each example contributes [n] to the measure `information`, of which it is the mean.

    `contexts` [n] numbers the contexts that examples are scored behind, if these have no shot in common; each then has
    intercepts of its own, since each makes other labels likely. A label without examples behind a context counts as one
    that nothing is said about: it contributes 0, and the posteriors are those of the other labels, since its own
    intercept is not determined. So a constant labelling has 0.
    """
    num_labels = logprobs.shape[1]
    gains = np.empty(len(labels))
    for members in _members(contexts, len(labels)):
        present, places = np.unique(labels[members], return_inverse=True)
        posteriors = even_posteriors(logprobs[members][:, present], places)
        gains[members] = posteriors[np.arange(len(members)), places] + np.log(len(present))
    weighted: Array = gains / (num_labels * label_rates(labels, num_labels)[labels])
    return weighted


def _members(contexts: Ints | None, num: int) -> list[Ints]:
    if contexts is None:
        return [np.arange(num)]
    return [np.flatnonzero(contexts == context) for context in np.unique(contexts)]


def even_posteriors(logprobs: Array, labels: Ints) -> Array:
    """Log-probabilities [n, C] of the labels, were all equally frequent, from raw `logprobs` [n, C] behind contexts
    with `labels` [n], in which every label occurs.

    Each label's log-probabilities are shifted so that its mean probability is its rate in `labels`; that makes `labels`
    likeliest (the intercepts of a logistic regression). Then the rates are divided out.
    """
    rates = label_rates(labels, logprobs.shape[1])
    fitted = logprobs + smoothed_shifts(logprobs, LabelRates(rates, rates), temperature=1.0)
    return normalized(fitted - np.log(rates))


def unit_of_u(measure: str | None) -> str:
    """The unit of U for a measure; None stands for a mean over examples."""
    return "nats summed over examples" if measure == "sum" else "nats per example"


def margins(scores: Array, labels: Ints) -> Array:
    """How far the score of each of `labels` [n] exceeds the best other label's score in `scores` [n, C]."""
    all_examples = np.arange(len(labels))
    others = scores.copy()
    others[all_examples, labels] = -np.inf
    above: Array = scores[all_examples, labels] - others.max(axis=1)
    return above


def label_rates(labels: Ints, num_labels: int) -> Array:
    """The share of each label in `labels`, which must not be empty."""
    rates: Array = np.bincount(labels, minlength=num_labels) / len(labels)
    return rates


def entropy(labels: Ints, num_labels: int) -> float:
    """Entropy of the label rates in nats, between 0 and ln(num_labels)."""
    rates = label_rates(labels, num_labels)
    rates = rates[rates > 0]
    return float(-(rates * np.log(rates)).sum())


def normalized(logprobs: Array) -> Array:
    """`logprobs` renormalised, so that the probabilities of the labels sum to 1."""
    shares: Array = logprobs - log_sums(logprobs, 1)
    return shares


@dataclass(frozen=True)
class LabelScale:
    """The mean and the spread of each label's scores over a batch: what calibration takes out, of this batch or of
    other examples behind the same context."""

    means: Array
    """[C]: the mean log-ratios, in nats."""
    factors: Array
    """[C]: what gives every label the same spread, the geometric mean of theirs, so scores stay in nats. Labels without
    a spread have 1; so have all labels of fewer examples than labels, which do not show how far scores vary."""

    @classmethod
    def of(cls, logprobs: Array) -> LabelScale:
        """That of the batch `logprobs` [n, C]."""
        ratios = _log_ratios(logprobs)
        means = ratios.mean(axis=0)
        spreads = np.sqrt(((ratios - means) ** 2).mean(axis=0))
        factors = np.ones(len(spreads))
        varies = spreads > NO_SPREAD
        if len(ratios) >= len(spreads) and varies.any():
            factors[varies] = np.exp(np.log(spreads[varies]).mean()) / spreads[varies]
        return cls(means, factors)

    def scores(self, logprobs: Array) -> Array:
        """Calibrated scores [n, C] of `logprobs` [n, C]."""
        scores: Array = (_log_ratios(logprobs) - self.means) * self.factors
        return scores


def calibrated(logprobs: Array) -> Array:
    """`logprobs` [n, C] as log-ratios, less each label's mean over the batch (batch calibration, arXiv 2309.17249), and
    with the same spread for every label.

    Two labels have the same spread in any case. Of more, one whose scores vary little would otherwise lose its examples
    to one whose scores vary much: the noise of the second exceeds what the model has to say for the first.
    """
    return LabelScale.of(logprobs).scores(logprobs)


def _log_ratios(logprobs: Array) -> Array:
    """`logprobs` [n, C] relative to the mean over the example's labels (centred log-ratios)."""
    ratios: Array = logprobs - logprobs.mean(axis=1, keepdims=True)
    return ratios
