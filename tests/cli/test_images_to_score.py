"""Where the images that are scored come from: folders, archives, parts of datamodules."""

import io
import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import ImageFolderDataModule
from gan_modules.commands.images import DataPart, ImagePlace


def test_images_of_several_sizes_kinds_and_depths(tmp_path):
    random = np.random.default_rng(0)
    first, second = (random.integers(0, 256, (h, 20), np.uint8) for h in (10, 12))
    Image.fromarray(first).save(tmp_path / "a.png")
    Image.fromarray(second).save(tmp_path / "b.tif")
    Image.fromarray(second).save(tmp_path / "c.bmp")
    place = ImagePlace(str(tmp_path))
    assert [tuple(batch.shape) for (batch,) in place.batches(5)] == [(1, 1, 10, 20), (2, 1, 12, 20)]
    assert [tuple(batch.shape) for (batch,) in place.batches(1)] == [(1, 1, 10, 20), *[(1, 1, 12, 20)] * 2]
    ((batch,),) = place.batches(9, rows=[2])
    assert np.array_equal(batch[0, 0].numpy(), second)
    assert next(iter(ImagePlace(str(tmp_path), channels=3).batches(1)))[0].shape == (1, 3, 10, 20)


def test_archives_are_not_trusted(tmp_path):
    def archive(name, content, damage=0):
        path = tmp_path / "images.zip"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(name, content)
        data = bytearray(path.read_bytes())
        data[60] ^= damage
        path.write_bytes(data)
        return ImagePlace(str(path), channels=1)

    buffer = io.BytesIO()
    Image.new("L", (30, 30), 77).save(buffer, "PNG")
    assert next(archive("a/b.png", buffer.getvalue()).batches(1))[0].unique().tolist() == [77]
    with pytest.raises(ValueError, match="holds no image"):
        archive("../../escaped.png", buffer.getvalue())
    assert [path.name for path in tmp_path.iterdir()] == ["images.zip"]
    with pytest.raises(ValueError, match=r"a\.png"):
        next(archive("a.png", b"no image").batches(1))
    with pytest.raises(ValueError, match=r"a\.png"):
        next(archive("a.png", buffer.getvalue(), damage=255).batches(1))


def test_training_images_are_scored_as_they_are(tmp_path):
    """Neither mirrored nor shuffled nor left out, whatever training does with them."""
    random = np.random.default_rng(0)
    for i in range(10):
        Image.fromarray(random.integers(0, 256, (8, 12, 3), np.uint8)).save(tmp_path / f"{i}.png")
    data = ImageFolderDataModule(
        str(tmp_path), image_size=8, crop="random", horizontal_flip=True, batch_size=4, num_workers=0
    )
    part = DataPart(data, "train")
    (first,), (second,) = (torch.cat([batch for (batch,) in part.batches(4)]).split(9) for _ in range(2))
    assert torch.equal(first, second)
    centres = [np.asarray(Image.open(path))[:, 2:10] for path in data.splits[0].paths]
    assert np.array_equal(first.permute(0, 2, 3, 1).numpy(), np.stack(centres))
    assert data.splits[0].flip  # the datamodule's own is left alone


GREYS = {
    "L": lambda grey: Image.fromarray(grey),
    "1": lambda grey: Image.fromarray(grey > 99),
    "P": lambda grey: Image.fromarray(grey).convert("P"),
    "LA": lambda grey: Image.fromarray(grey).convert("LA"),
    "I;16": lambda grey: Image.fromarray(grey.astype(np.uint16) * 257),
    "RGB": lambda grey: Image.fromarray(grey).convert("RGB"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place_of_colour", [None, 0, 3, 6])
def test_a_folder_is_grey_only_if_all_of_it_is(tmp_path, place_of_colour, packed):
    """Whatever the files could hold: grey as RGB is grey, and one colour makes all RGB."""
    random = np.random.default_rng(0)
    images = [make(random.integers(0, 256, (6, 6), np.uint8)) for make in GREYS.values()]
    if place_of_colour is not None:
        red = Image.new("RGB", (6, 6), (90, 90, 90))
        red.putpixel((5, 5), (90, 91, 90))  # a single pixel, barely
        images.insert(place_of_colour, red)
    (tmp_path / "set").mkdir()
    for number, image in enumerate(images):
        image.save(tmp_path / "set" / f"{number}.png")
    if packed:
        shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set")
    place = ImagePlace(str(tmp_path / ("set.zip" if packed else "set")))
    assert place.channels == (1 if place_of_colour is None else 3)
    ((batch,),) = place.batches(99)
    if place_of_colour is not None:
        assert batch[place_of_colour, :, 5, 5].tolist() == [90, 91, 90]
        grey_rows = [row for row in range(7) if row != place_of_colour]
        assert (batch[grey_rows, 0] == batch[grey_rows, 1]).all()


def test_nvidias_labels_come_with_the_images(tmp_path):
    for number in range(5):
        Image.new("L", (4, 4), number).save(tmp_path / f"{number}.png")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": [[f"{i}.png", 4 - i] for i in range(5)]}))
    place = ImagePlace(str(tmp_path))
    assert place.num_classes == 5
    batches = list(place.batches(2, rows=[4, 0, 2]))
    assert [(images[:, 0, 0, 0].tolist(), labels.tolist()) for images, labels in batches] == [
        ([4, 0], [0, 4]),
        ([2], [2]),
    ]
