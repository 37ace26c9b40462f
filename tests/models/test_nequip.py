"""NequIP beside its goldens: options refused."""

import numpy as np
import pytest

from cpdjax.errors import InputError, UnknownNameError
from cpdjax.models import from_state_dict

CONFIG = {
    "version": "0.13.0",
    "_type_map": {"1": 0},
    "cutoff": 4.0,
    "channel": 2,
    "num_convolution_layer": 2,
}


@pytest.mark.parametrize(
    ("option", "match", "error"),
    [
        ({"act_radial": "mish"}, "unknown activation 'mish'", UnknownNameError),
        ({"act_scalar": {"e": "mish", "o": "tanh"}}, "activation 'mish'", UnknownNameError),
        ({"act_gate": {"e": "mish", "o": "tanh"}}, "activation 'mish'", UnknownNameError),
        ({"readout_fcn_activation": "mish"}, "activation 'mish'", UnknownNameError),
        ({"act_scalar": {"e": "silu", "o": "abs"}}, "only with 'tanh'", InputError),
        ({"radial_basis": {"radial_basis_name": "sinc"}}, "radial basis 'sinc'", UnknownNameError),
        (
            {"cutoff_function": {"cutoff_function_name": "cosine"}},
            "cutoff function 'cosine'",
            UnknownNameError,
        ),
        ({"self_connection_type": "none"}, "self_connection_type", InputError),
        ({"self_connection_type": ["linear"]}, "expected 2 of them", InputError),
        ({"irreps_manual": ["2x0e", "abc", "2x0e"]}, "'abc' are no irreps", InputError),
        ({"interaction_type": "mace"}, "interaction_type='mace' is not ported", InputError),
        ({"use_modality": True}, "use_modality=True is not ported", InputError),
        ({"lmax_nodes": 1}, "'lmax_nodes'; did you mean lmax_node", UnknownNameError),
        ({"epoch": 100, "force_loss_weight": 0.1}, "the state dict lacks", InputError),
    ],
)
def test_options_that_are_not_ported_are_refused(option, match, error):
    with pytest.raises(error, match=match) as caught:
        from_state_dict("nequip", CONFIG | option, {"weight": np.ones(3)})
    assert "\n" not in str(caught.value)
