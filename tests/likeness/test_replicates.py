"""Replicates are the first-order change of each measure in the weights of molecules."""

import likeness_oracle as oracle
import numpy as np
import pytest
from likeness_oracle import measures, stack_of

from cpdjax.likeness.prepared import prepare

STEP = 1e-4


def spaces(rows, seed=0):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(rows, 3)) * rng.uniform(0.5, 1.5, size=(rows, 1))
    return [hidden @ rng.normal(size=(3, n)) + 0.5 * rng.normal(size=(rows, n)) for n in (4, 17)]


def weighted(stack, prepared, weight, alpha, variance):
    """All measures of weighted rows, their residuals as they are, from Gram matrices."""
    centred = stack.concepts is not None
    w = weight[stack.unit]
    e = [prepared.e[:, stack.owner == i] for i in range(2)]
    e = [one - (w @ one / w.sum() if centred else 0) for one in e]
    k, other = (one @ one.T for one in e)
    moment = [one.T @ (w[:, None] * one) for one in e]
    values = [np.linalg.eigvalsh(m)[::-1] for m in moment]
    share = [v / v.sum() for v in values]
    found = {
        "cka": oracle.cka(k, other, w),
        "cka_debiased": _debiased(stack, prepared, w),
        "participation_ratio": [v.sum() ** 2 / (v**2).sum() for v in values],
        "effective_rank": [np.exp(-(s * np.log(s)).sum()) for s in share],
    }
    if variance is None:
        inverse = [np.linalg.inv(m + alpha * np.eye(len(m))) for m in moment]
        gram = e[0].T @ (w[:, None] * e[1])
        kept = [v / (v + alpha) for v in values]
        most = (kept[0] * kept[1][: len(kept[0])]).sum()
        found["cca"] = np.trace(inverse[0] @ gram @ inverse[1] @ gram.T) / most
    return found


def _debiased(stack, prepared, w):
    """HSIC₁ with pairs of different rows (of vectors: of different vectors) weighted by both."""
    e = [prepared.e[:, stack.owner == i] for i in range(2)]
    k, other = (one @ one.T for one in e)
    block = np.kron(np.eye(len(k) // stack.components), np.ones((stack.components,) * 2))
    n = len(k) if stack.concepts is not None else np.inf

    def hsic(a, b):
        pairs = np.outer(w, w) * a * b
        traces = (w @ np.diag(a)) * (w @ np.diag(b)) / ((n - 1) * (n - 2))
        return pairs.sum() - (block * pairs).sum() * (1 + 2 / (n - 2)) + traces

    return hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))


@pytest.mark.parametrize("kind", ["molecules", "atoms", "vectors", "components kept"])
def test_replicates_are_the_derivative_in_the_weight_of_one_molecule(kind):
    rows, alpha, variance = 60, 3.0, 0.9 if kind == "components kept" else None
    c = np.random.default_rng(5).integers(0, 3, (rows, 2)).astype(float)
    unit = np.arange(rows) // 4 if kind == "atoms" else None
    vectors = kind == "vectors"
    stack = stack_of(
        spaces(rows), None if vectors else c, unit=unit, components=3 if vectors else 1
    )
    molecules = [0, 3, 7]
    steps = np.ones((6, stack.unit.max() + 1))
    for i, molecule in enumerate(molecules):
        steps[2 * i : 2 * i + 2, molecule] += [STEP, -STEP]
    _, replicates = measures(stack, alpha=alpha, variance=variance, weights=steps)
    prepared = prepare(stack, "ols", alpha=alpha)
    for i in range(len(molecules)):
        brute = [weighted(stack, prepared, steps[2 * i + j], alpha, variance) for j in (0, 1)]
        for name in brute[0]:
            ours = replicates[name][2 * i : 2 * i + 2]
            ours = ours[:, 0, 1] if ours.ndim == 3 else ours
            derivative = (ours[0] - ours[1]) / (2 * STEP)
            expected = np.subtract(brute[0][name], brute[1][name]) / (2 * STEP)
            np.testing.assert_allclose(derivative, expected, rtol=1e-5, atol=1e-9, err_msg=name)


def test_replicates_of_r2_weigh_held_out_errors():
    rows = 60
    c = np.random.default_rng(5).integers(0, 3, (rows, 2)).astype(float)
    stack = stack_of(spaces(rows), c)
    weights = np.ones((6, rows))
    weights[:2, 6] += [STEP, -STEP]
    found, replicates = measures(stack, weights=weights)
    derivative = (replicates["r2"][0] - replicates["r2"][1])[0, 1] / (2 * STEP)
    train, mine = stack.fold != stack.fold[6], stack.fold == stack.fold[6]
    z, y = (oracle.left_over(stack.x[:, stack.owner == i], c, train, "ols", 2) for i in range(2))
    z = z / np.sqrt((z[train] ** 2).mean())
    predicted = oracle.Ridge(1.0).fit(z[train], y[train]).predict(z)
    scores = []
    for w in weights[:2]:
        w = w[mine]
        mean = w @ y[mine] / w.sum()
        errors = w @ ((y - predicted)[mine] ** 2).sum(1)
        scores.append(1 - errors / (w @ ((y[mine] - mean) ** 2).sum(1)))
    expected = np.zeros(4)
    expected[stack.fold[6]] = (scores[0] - scores[1]) / (2 * STEP)
    np.testing.assert_allclose(derivative, expected, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(replicates["r2"][2:], [found["r2"]] * 4, atol=1e-12)


def test_replicates_of_permuted_rows_are_the_same_from_either_side():
    rows = 60
    c = np.random.default_rng(5).integers(0, 3, (rows, 2)).astype(float)
    weights = np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), 6).astype(float)
    stack = stack_of(spaces(rows), c)
    permuted = stack.permuted(np.random.default_rng(1).permutation(rows))
    _, there = measures(stack, weights=weights, other=permuted)
    _, back = measures(permuted, weights=weights, other=stack)
    for name in ("cka", "cka_debiased", "cca"):
        across = back[name].transpose(0, 2, 1)
        np.testing.assert_allclose(there[name], across, atol=1e-9, err_msg=name)
        assert (there[name].std(0) > 1e-3).all()


@pytest.mark.slow
def test_replicates_scatter_as_those_of_drawn_molecules_do():
    rows, draws = 300, 200
    rng = np.random.default_rng(0)
    c = rng.integers(0, 3, (rows, 2)).astype(float)
    stack = stack_of(spaces(rows), c)
    weights = rng.multinomial(rows, np.full(rows, 1 / rows), draws).astype(float)
    _, found = measures(stack, weights=weights)
    prepared = prepare(stack, "ols", alpha=1.0)
    brute = [weighted(stack, prepared, w, 1.0, None) for w in weights]
    for name in ("cka", "cka_debiased", "cca"):
        ours, drawn = found[name][:, 0, 1], np.array([b[name] for b in brute])
        assert ours.std() == pytest.approx(drawn.std(), rel=0.15), name
        assert np.corrcoef(ours, drawn)[0, 1] > 0.85, name
    for name in ("participation_ratio", "effective_rank"):
        ours, drawn = found[name], np.array([b[name] for b in brute])
        np.testing.assert_allclose(ours.std(0), drawn.std(0), rtol=0.2, err_msg=name)
