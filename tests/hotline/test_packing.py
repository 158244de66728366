"""Packed layers answer as the layers did, also where their weights are read, and are not saved."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hotline.families import packing

WIDTH = 256
pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")


def _layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH, bias=False)).eval()


def test_packed_layers_say_what_the_layers_said() -> None:
    layers, given = _layers(), torch.randn(3, 7, WIDTH)
    with torch.inference_mode():
        before = layers(given)
        assert packing.pack(layers) == 2
        torch.testing.assert_close(layers(given), before)


def test_small_layers_stay_as_they_are() -> None:
    assert packing.pack(nn.Sequential(nn.Linear(8, 8))) == 0


def test_code_that_reads_weights_instead_of_calling_the_layer_answers_the_same() -> None:
    """As torch's own Transformer layers do, and WavLM's attention."""
    layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, batch_first=True).eval()
    weight, given = layer.linear1.weight.detach().clone(), torch.randn(2, 5, WIDTH)
    with torch.inference_mode():
        before = layer(given)
        assert packing.pack(layer) == 2
        assert torch.equal(layer.linear1.weight, weight)
        torch.testing.assert_close(layer(given), before)


@pytest.mark.parametrize("dora", [False, True])
def test_a_model_with_an_adapter_that_is_not_merged_stays_as_it_is(dora: bool) -> None:
    import peft

    config = peft.LoraConfig(r=WIDTH, target_modules=["0"], use_dora=dora, init_lora_weights=False)
    model = peft.inject_adapter_in_model(config, _layers()).eval()
    assert packing.pack(model) == 0


def test_a_layer_that_two_parents_share_is_packed_once() -> None:
    layer = nn.Linear(WIDTH, WIDTH)
    model = nn.ModuleList([nn.Sequential(layer), nn.Sequential(layer)])
    assert packing.pack(model) == 1
    assert model[0][0] is model[1][0]


def test_an_embedding_that_shares_a_layers_weight_keeps_it() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(300, WIDTH), "head": nn.Linear(WIDTH, 300, bias=False)})
    model["head"].weight = model["embed"].weight
    given, weight = torch.randn(2, WIDTH), model["embed"].weight.detach().clone()
    before = model["head"](given).detach()
    packing.pack(model)
    assert torch.equal(model["embed"].weight, weight)
    torch.testing.assert_close(model["head"](given).detach(), before)


def test_a_packed_layer_is_not_saved_by_mistake() -> None:
    layers = _layers()
    packing.pack(layers)
    with pytest.raises(AssertionError, match="cannot be saved"):
        layers.state_dict()
