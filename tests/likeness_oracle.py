"""Write the linear measures of two spaces plainly: fold by fold, row by row, pair by pair."""

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge

from cpdjax.likeness.formulas import linear_measures, own_measures, stacked
from cpdjax.likeness.linear import linear_row
from cpdjax.likeness.prepared import prepare
from cpdjax.likeness.stack import Stack


def stack_of(spaces, concepts=None, *, folds=4, unit=None, components=1, elements=None):
    """A stack of these spaces (row × column each), molecules dealt out to folds in turn."""
    rows = len(spaces[0])
    unit = np.arange(rows) // components if unit is None else unit
    return Stack(
        np.hstack(spaces),
        np.repeat(np.arange(len(spaces)), [s.shape[1] for s in spaces]),
        unit,
        unit % folds,
        concepts,
        0 if concepts is None else elements or concepts.shape[1],
        components,
    )


def measures(stack, projection="ols", *, alpha=1.0, variance=None, weights=None, other=None):
    """All linear measures, and their replicates where there are weights."""
    given = {"alpha": alpha, "variance": variance, "weights": weights}
    left = prepare(stack, projection, **given)
    right = left if other is None else prepare(other, projection, **given)
    rows = [linear_row(left, right, a, weights) for a in range(stack.channels)]
    found = [linear_measures(stacked([r[0] for r in rows]), left.own, right.own, left.rows)]
    found[0] |= own_measures(left.own)
    if weights is None:
        return found[0]
    replicates = stacked([r[1] for r in rows]), left.own_replicates, right.own_replicates
    found.append(linear_measures(*replicates, left.rows) | own_measures(left.own_replicates))
    return found


def left_over(x, concepts, train, projection, elements):
    """What a projection fitted on the training rows leaves of all rows."""
    if concepts is None:
        return x
    if projection == "none":
        return x - x[train].mean(0)
    c = concepts[:, :elements] if projection == "formula" else concepts
    predicted = LinearRegression().fit(c[train], x[train]).predict(c)
    if projection == "formula":
        for row in range(len(x)):
            same = train & (c == c[row]).all(1)
            if same.any():
                predicted[row] = x[same].mean(0)
    return x - predicted


def residual(stack, channel, projection):
    """Held-out residuals of a channel about their mean, in one unit; raw features as they are."""
    x = stack.x[:, stack.owner == channel]
    e = x.copy()
    for k in range(stack.fold.max() + 1 if projection != "none" else 0):
        train = stack.fold != k
        left = left_over(x, stack.concepts, train, projection, stack.elements)
        e[~train] = left[~train]
    if stack.concepts is not None:
        e = e - e.mean(0)
    return e / np.sqrt((e**2).mean())


def r2(stack, a, b, projection, alpha):
    """R² of Ridge from channel a to channel b in every fold."""
    scores = []
    for k in range(stack.fold.max() + 1):
        train = stack.fold != k
        z, y = (
            left_over(
                stack.x[:, stack.owner == i], stack.concepts, train, projection, stack.elements
            )
            for i in (a, b)
        )
        z = z / np.sqrt((z[train] ** 2).mean())
        centred = stack.concepts is not None
        fit = Ridge(alpha, fit_intercept=centred).fit(z[train], y[train])
        mean = y[~train].mean(0) if centred else 0
        error = ((y[~train] - fit.predict(z[~train]).reshape(y[~train].shape)) ** 2).sum()
        scores.append(1 - error / ((y[~train] - mean) ** 2).sum())
    return np.array(scores)


def gram(e, weight=None):
    """The Gram matrix of all rows about their mean."""
    weight = np.ones(len(e)) if weight is None else weight
    e = e - weight @ e / weight.sum()
    return e @ e.T


def cka(k, l, weight=None):
    """Biased, from the N × N Gram matrices of centred features."""
    both = np.ones_like(k) if weight is None else np.outer(weight, weight)
    return (both * k * l).sum() / np.sqrt((both * k * k).sum() * (both * l * l).sum())


def hsic1(k, l):
    """Equation 5 of Song et al., J. Mach. Learn. Res. 13, 1393 (2012)."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))
    one = np.ones(n)
    middle = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ l) + middle - 2 / (n - 2) * one @ k @ l @ one) / (n * (n - 3))


def cka_debiased(k, l):
    return hsic1(k, l) / np.sqrt(hsic1(k, k) * hsic1(l, l))


def cca(a, b, alpha=0.0, variance=None):
    """Squared regularised canonical correlations, over the most that such spectra allow."""
    sides, shares = [], []
    for e in (a, b):
        u, s, _ = np.linalg.svd(e, full_matrices=False)
        u, s = u[:, s > 1e-10 * s[0]], s[s > 1e-10 * s[0]]
        share = s**2 / (s**2 + alpha)
        if variance is not None:
            wanted = np.searchsorted(np.cumsum(s**2) / (s**2).sum(), variance - 1e-12) + 1
            u, share = u[:, :wanted], np.ones(wanted)
        sides.append(u * np.sqrt(share))
        shares.append(share)
    correlations = np.linalg.svd(sides[0].T @ sides[1], compute_uv=False)
    n = min(map(len, shares))
    return (correlations**2).sum() / (shares[0][:n] * shares[1][:n]).sum()


def participation_ratio(e):
    values = np.linalg.eigvalsh(np.cov(e.T))
    return values.sum() ** 2 / (values**2).sum()


def effective_rank(e):
    share = np.linalg.svd(e, compute_uv=False) ** 2
    share = share[share > 1e-12 * share[0]] / share.sum()
    return np.exp(-(share * np.log(share)).sum())
