"""Every model trains in every number format, and compiled as it does uncompiled."""

from dataclasses import replace

import cases
import pytest
import torch
from answers import answers
from cases import batches, build
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from training import FixedNoise, assert_equal_state, batches_of_steps, fit

FORMATS = ["32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true"]


def options_of(precision):
    """The Trainer's arguments: the scaler of "16-mixed" is a real one, which works on the CPU too."""
    if precision != "16-mixed":
        return {"precision": precision}
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    return {"plugins": MixedPrecision("16-mixed", "cpu", scaler=scaler)}


@pytest.mark.parametrize("precision", FORMATS)
def test_a_model_trains_in_every_precision(name, precision):
    model = build(name, ema_half_life=50)
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    fit(model, batches(name, batches_of_steps(model, 2)), max_steps=2, **options_of(precision))
    for key, parameter in model.named_parameters():
        assert parameter.isfinite().all(), key
    averages = {key for key in before if "_ema." in key}
    assert averages
    wide = torch.float64 if precision == "64-true" else torch.float32
    assert {model.get_parameter(key).dtype for key in averages} == {wide}, "half precision would lose small steps"
    for group in (averages, before.keys() - averages):
        assert any(not torch.equal(model.get_parameter(key), before[key]) for key in group)
    batch, found = answers(model, name)
    for together, _ in found:
        for answer in together(model, batch):
            assert answer.dtype == torch.float32
            assert answer.isfinite().all()


def first_update(name, precision):
    """How far plain gradient descent moves each player: Adam's first step would hide the gradient's size."""
    model = build(name)
    players = model.players

    def descending():
        return {
            key: replace(player, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e-3))
            for key, player in players().items()
        }

    model.players = descending
    before = {key: parameter.detach().double() for key, parameter in model.named_parameters()}
    with FixedNoise():
        fit(model, batches(name, batches_of_steps(model, 1), size=32), max_steps=1, **options_of(precision))
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    return {
        player: torch.cat([(p.detach().double() - before[names[id(p)]]).flatten() for p in part.parameters()])
        for player, part in players().items()
    }


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_first_update_is_that_of_float64(name, precision):
    least = {"32-true": 0.9995, "bf16-mixed": cases.case(name).cosine, "16-mixed": 0.98}[precision]
    expected, got = first_update(name, "64-true"), first_update(name, precision)
    for player, moved in expected.items():
        assert moved.norm() > 0
        assert torch.cosine_similarity(moved, got[player], dim=0).item() > least, player
        assert got[player].norm().item() == pytest.approx(moved.norm().item(), rel=0.06), player


@pytest.mark.slow
@pytest.mark.filterwarnings("error:.*recompile_limit")
def test_compiled_networks_play_the_same_game(name, compiled_graphs):
    data = batches(name, batches_of_steps(build(name), 3))
    model, expected = build(name, compile=True), build(name)
    fit(model, data, max_steps=3, precision="64-true")
    networks = [
        network
        for player in model.players().values()
        for module in player.modules
        for network in (module.children() if isinstance(module, nn.ModuleDict | nn.ModuleList) else [module])
    ]
    assert len(compiled_graphs) >= 2 * len(networks), "forwards and backwards of each"
    count = len(compiled_graphs)
    fit(expected, data, max_steps=3, precision="64-true")
    assert len(compiled_graphs) == count, "the model that was not to be compiled was"
    assert_equal_state(model.state_dict(), expected.state_dict(), 1e-9)
