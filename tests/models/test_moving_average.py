"""The moving average of a training's weights, step by step against a sum by hand."""

import jax
import numpy as np
from ase.build import molecule

from cpdjax import Structures
from cpdjax.models.training.recipes import recipe
from cpdjax.models.training.run import Run


def run():
    names = ["H2O", "CH4", "NH3", "CH3OH", "C2H6", "C2H4", "CO", "N2"]
    frames = [molecule(name) for name in names] * 2
    structures = Structures.from_atoms(frames, targets={"y": np.arange(16.0)})
    sizes = {"hidden_channels": 4, "num_filters": 4, "num_interactions": 1, "num_gaussians": 4}
    chosen = recipe(
        architecture="schnet", target="y", options=sizes, train=8, validation=4, held_out=4,
        epochs=3, batch_size=4, ema=0.35, learning_rate=0.1, dataset="few.extxyz",
    )  # fmt: skip
    return Run.of(chosen, structures)


def test_three_steps_by_hand():
    """After step t the average keeps min(decay, t / (9 + t)) of itself, t counting from 1."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):  # as `train` itself does
        training = run()
        state = training.first()
        average = jax.tree.map(np.asarray, state.ema)
        batch = next(training.train.all(4))
        for share in (1 / 10, 2 / 11, 3 / 12, 4 / 13, 0.35):  # 5 / 14 = 0.357 is above the decay
            state = training.step(state, batch)
            average = jax.tree.map(
                lambda old, new, kept=share: kept * old + (1 - kept) * np.asarray(new),
                average,
                state.params,
            )
            for found, expected in zip(
                jax.tree.leaves(state.ema), jax.tree.leaves(average), strict=True
            ):
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        moved = [
            np.abs(np.asarray(a) - np.asarray(b)).max()
            for a, b in zip(jax.tree.leaves(state.ema), jax.tree.leaves(state.params), strict=True)
        ]
        assert max(moved) > 1e-3  # the steps are large enough to tell
