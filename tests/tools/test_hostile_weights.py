import os
import pickle

import pytest
import torch

from gan_modules.errors import GANError
from gan_modules.tools.distances import LPIPS, VGG_FILE


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("content", ["hostile", "damaged"])
def test_a_file_in_the_place_of_vgg16_is_read_and_not_executed(content, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    hostile = pickle.dumps({"features.0.weight": Harm(tmp_path / "executed")})
    (tmp_path / "checkpoints" / VGG_FILE).write_bytes(hostile if content == "hostile" else b"PK broken")
    with pytest.raises(GANError, match=VGG_FILE):
        LPIPS()
    assert not (tmp_path / "executed").exists()
