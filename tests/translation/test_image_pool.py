import pytest
import torch

from gan_modules.techniques.replay import ImagePool


def numbered(*numbers):
    return torch.tensor(numbers, dtype=torch.float32)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()


def test_an_empty_pool_gives_back_what_it_gets():
    images = numbered(1, 2, 3)
    assert torch.equal(ImagePool(0).exchange(images), images)


def test_the_pool_fills_first_and_then_exchanges_half():
    torch.manual_seed(0)
    pool = ImagePool(50)
    held = set(range(50))
    assert pool.exchange(numbered(*range(50)))[:, 0, 0, 0].tolist() == list(range(50))
    older = 0
    for number in range(50, 4050):
        given = int(pool.exchange(numbered(number))[0, 0, 0, 0])
        if given != number:
            assert given in held  # no image is given twice once it has left
            held = held - {given} | {number}
            older += 1
        assert set(pool.state_dict()["images"][:, 0, 0, 0].int().tolist()) == held
    assert abs(older / 4000 - 0.5) < 4 * (0.25 / 4000) ** 0.5  # four standard deviations


def test_every_place_is_exchanged_alike():
    torch.manual_seed(0)
    pool = ImagePool(4)
    pool.exchange(numbered(0, 1, 2, 3))
    ages = []
    for number in range(4, 4004):
        given = int(pool.exchange(numbered(number))[0, 0, 0, 0])
        if given != number:
            ages.append(number - given)
    # an image stays for a geometric time: it leaves with probability ½·¼ a step, so for 8 steps on average
    assert sum(ages) / len(ages) == pytest.approx(8, rel=0.1)


def test_what_is_held_is_not_what_was_lent():
    pool = ImagePool(1)
    images = numbered(1)
    pool.exchange(images)
    images.zero_()
    assert pool.state_dict()["images"].flatten().tolist() == [1] * 4


@pytest.mark.parametrize("filled", [0, 2, 7])
def test_a_restored_pool_goes_on_as_the_first(filled):
    first, second = ImagePool(4), ImagePool(4)
    if filled:
        first.exchange(numbered(*range(filled)))
    second.load_state_dict(first.state_dict())
    for number in range(10, 60):
        assert torch.equal(first.exchange(numbered(number)), second.exchange(numbered(number)))
