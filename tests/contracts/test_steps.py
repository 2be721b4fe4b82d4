"""What a step is: how it is counted, what its phases see, how it goes on from a checkpoint."""

import cases
import pytest
import torch
from cases import batches, build
from training import EachBatch, FixedNoise, assert_equal_state, batches_of_steps, fit

STEPS = 3


def test_steps_and_images_are_counted_and_each_repeat_has_fresh_reals(name):
    model = build(name)
    count = batches_of_steps(model, STEPS)
    data = batches(name, count)
    given, played = [], []
    inputs, phases = model.inputs, model.phases

    def noted_inputs(batch):
        given.append(batch)
        return inputs(batch)

    def noted_phases():
        def noted(index, phase):
            def objective(x):
                played.append((model.trainer.global_step, len(given), index))
                return phase.objective(x)

            return {**vars(phase), "objective": objective}

        return [type(phase)(**noted(index, phase)) for index, phase in enumerate(phases())]

    model.inputs, model.phases = noted_inputs, noted_phases
    trainer = fit(model, data, max_steps=STEPS)
    assert trainer.global_step == STEPS
    assert model.images_seen == 6 * count
    assert len(given) == count
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(sum(map(tuple, given), ()), sum(data, ()), strict=True)
    )

    expected, last = [], 0
    for step in range(STEPS):
        repeats = [phase.batches(step) for phase in phases()]
        last += max(1, *repeats)  # a phase plays on the last batches of a step
        for batch in range(last - max(1, *repeats) + 1, last + 1):
            expected += [(step, batch, index) for index, k in enumerate(repeats) if batch > last - k]
    assert played == expected


def test_a_run_goes_on_from_the_middle_of_a_step_and_of_an_epoch(name, tmp_path):
    """Every third batch's checkpoint leads to the same bits: weights, averages, optimizers, noise."""
    data = batches(name, 5)  # with two batches a step, steps straddle the epochs

    def save(trainer, model):
        trainer.save_checkpoint(tmp_path / f"{trainer.fit_loop.epoch_loop.total_batch_idx}.ckpt")

    def result(trainer, model):
        moments = [optimizer.state_dict()["state"] for optimizer in trainer.optimizers]
        rates = [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers]
        past = {key: thing.state_dict() for key, thing in model.extra_state.items()}
        return [model.state_dict(), moments, rates, past, model.images_seen, torch.get_rng_state()]

    whole = build(name)
    expected = result(fit(whole, data, EachBatch(save), max_epochs=3), whole)
    saved = sorted(tmp_path.glob("*.ckpt"), key=lambda path: int(path.stem))
    assert len(saved) == 15
    for path in saved[2::3]:
        model = build(name)
        trainer = fit(model, data, seed=99, max_epochs=3, ckpt_path=path)
        torch.testing.assert_close(
            result(trainer, model), expected, rtol=0, atol=0, msg=lambda m, path=path: f"{path.name}: {m}"
        )


def test_a_batch_in_parts_gives_the_updates_of_the_whole(name):
    data = batches(name, batches_of_steps(build(name), STEPS))

    def trained(accumulate):
        model = build(name, accumulate=accumulate)
        with FixedNoise():
            fit(model, data, max_steps=STEPS, precision="64-true")
        return model

    parts, whole = trained(3), trained(1)
    assert parts.images_seen == whole.images_seen
    assert all(tensor.isfinite().all() for tensor in parts.state_dict().values())
    if not cases.case(name).couples:
        # in float64, since Adam makes whole steps out of rounding where a gradient is 0
        assert_equal_state(parts.state_dict(), whole.state_dict(), 1e-9)


@pytest.mark.parametrize("last", [1, 3, 5])
def test_a_last_batch_of_fewer_samples_than_parts_is_played_in_fewer(name, last):
    """As a loader without drop_last gives it; one part of each sample of 3, and parts of 2, 2 and 1 of 5."""
    count = batches_of_steps(build(name), 2)
    data = [*batches(name, count - 1), tuple(part[:last] for part in batches(name, count)[-1])]

    def trained(accumulate):
        model = build(name, accumulate=accumulate)
        with FixedNoise():
            fit(model, data, max_steps=2, precision="64-true")
        return model

    parts, whole = trained(4), trained(1)
    assert parts.images_seen == whole.images_seen == 6 * (count - 1) + last
    assert all(tensor.isfinite().all() for tensor in parts.state_dict().values())
    if not cases.case(name).couples:
        assert_equal_state(parts.state_dict(), whole.state_dict(), 1e-9)
