"""What models predict: the goldens' outputs, the errors on the cards, and nothing without one."""

import numpy as np
import pytest
from examples import common, load
from helpers import one_line

from cpdjax import InputError, extract, models
from cpdjax.models import zoo


def test_outputs_are_those_of_the_reference():
    golden, encoder, structures = load("painn")
    found = encoder.predict(structures, batch_size=2)
    np.testing.assert_allclose(found.values, golden["output"], rtol=0, atol=golden["tolerance"])
    assert found.dims == ("molecule",)
    assert found.molecule.values.tolist() == structures.ids.tolist()
    assert (found.name, found.attrs["units"]) == ("output", "")  # a state dict says neither


@pytest.mark.slow
def test_trained_models_predict_as_well_as_their_cards_say(tmp_path):
    structures, card = zoo.qm9_probe(200), zoo.card("schnet-qm9-gap")
    model = models.load("schnet-qm9-gap")
    found = model.predict(structures)
    assert (found.name, found.attrs["units"]) == (card["target"], card["unit"]) == ("gap", "eV")
    error = np.abs(found.values - structures.target("gap")).mean()
    assert 0.7 < error / card["test_mae"] < 1.4
    models.save(tmp_path / "mine", model)
    again = models.load(tmp_path / "mine")
    assert (again.target, again.unit) == ("gap", "eV")


def test_what_predicts_nothing_says_so():
    structures = load("painn")[2]
    with pytest.raises(InputError) as caught:
        models.load("coulomb-spectrum").predict(structures)
    one_line(caught, "coulomb-spectrum", "predicts nothing")
    with pytest.raises(InputError, match="at least 1"):
        load("painn")[1].predict(structures, batch_size=0)


@pytest.mark.parametrize("prefix", [True, False])
def test_a_representation_alone_has_the_same_layers_but_the_readout(prefix):
    golden, whole, structures = load("painn")
    state = {k: v for k, v in common.state_of(golden).items() if k.startswith("representation.")}
    if not prefix:
        state = {name.removeprefix("representation."): array for name, array in state.items()}
    config = {"activation": "silu", "epsilon": 1e-08, "n_interactions": 2}
    model = models.from_state_dict("painn", config, state, name="alone")
    assert list(model.irreps) == [layer for layer in whole.irreps if layer != "readout"]
    last = "interaction_1"
    found, expected = (extract(m, structures, layers=[last])[last].array for m in (model, whole))
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError) as caught:
        model.predict(structures)
    one_line(caught, "alone was made without a readout")
    del state[next(iter(state))]
    with pytest.raises(InputError, match=r"lacks|embedding"):
        models.from_state_dict("painn", config, state)
