"""What the data know about themselves: the kind and shape of a sample, and further facts; nothing is loaded for it."""

import numpy as np
import pytest
from made_up import MadeUpAudio, MadeUpCaptions, MadeUpVideo

import datamodules
from datamodules import DataError, DigitsDataModule, GANDataModule, PairedImagesDataModule, ToyDataModule


class Unloadable(GANDataModule):
    def load(self):
        raise AssertionError("the data were loaded")


@pytest.mark.parametrize(
    ("data", "spec"),
    [
        (DigitsDataModule(image_size=8), {"image_shape": (1, 8, 8), "num_classes": 10}),
        (ToyDataModule("25gaussians"), {"point_shape": (2,), "num_classes": 25}),
        (datamodules.MNISTDataModule("nowhere"), {"image_shape": (1, 32, 32), "num_classes": 10}),
        (datamodules.CelebADataModule("nowhere"), {"image_shape": (3, 64, 64), "num_classes": 0}),
        (datamodules.ImageFolderDataModule("nowhere", num_classes=7), {"image_shape": (3, 64, 64), "num_classes": 7}),
        (
            PairedImagesDataModule("nowhere", image_size=16, target_channels=1),
            {"image_shape": (3, 16, 16), "target_shape": (1, 16, 16), "num_classes": 0},
        ),
        (MadeUpAudio(), {"audio_shape": (1, 64), "num_classes": 3, "sample_rate": 8000}),
        (MadeUpVideo(), {"video_shape": (3, 4, 16, 16), "num_classes": 0, "frame_rate": 8}),
        (MadeUpCaptions(), {"image_shape": (3, 16, 16), "num_classes": 0, "vocab_size": 6}),
    ],
)
def test_the_spec_is_known_before_anything_is_loaded(data, spec):
    assert data.spec == spec
    assert "splits" not in vars(data)


def test_a_plain_class_attribute_is_a_fact_without_registration():
    class Vocabulary:
        vocab_size = np.int64(50)
        words = ["a", "b"]  # noqa: RUF012

    class Words(Vocabulary, DigitsDataModule):
        language: str = "en"
        word_index = {"a": 0}  # noqa: RUF012
        _hidden = 1
        reader = dict  # no plain value

        def tokenize(self):
            """A method is no fact."""

    facts = {"vocab_size": 50, "words": ["a", "b"], "language": "en", "word_index": {"a": 0}}
    assert Words().spec == DigitsDataModule().spec | facts


def test_the_value_is_the_instances_and_computed_facts_extend_the_spec():
    class Sentences(Unloadable):
        vocab_size = 0

        def __init__(self, vocab_size):
            super().__init__()
            self.vocab_size = vocab_size
            self.image_shape = [3, 8, 8]

        @property
        def spec(self):
            return super().spec | {"caption_length": 2 * self.vocab_size}

    expected = {"image_shape": (3, 8, 8), "num_classes": 0, "vocab_size": 12, "caption_length": 24}
    assert Sentences(12).spec == expected


@pytest.mark.parametrize("shape", ["image_shape", "point_shape", "audio_shape", "video_shape"])
def test_a_datamodule_states_its_kind_by_any_shape(shape):
    mine = type("Mine", (Unloadable,), {shape: (1, 2, 3)})
    assert mine().spec == {shape: (1, 2, 3), "num_classes": 0}


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ({}, "^Mine states no shape of a sample: give it exactly one of the attributes image_shape, point_shape, "),
        (
            {"audio_shape": (1, 8), "image_shape": (1, 8, 8)},
            "^Mine states image_shape and audio_shape: give it exactly one of the attributes ",
        ),
    ],
)
def test_no_shape_or_two_are_refused_in_a_sentence(shapes, sentence):
    with pytest.raises(DataError, match=sentence):
        _ = type("Mine", (Unloadable,), shapes)().spec
