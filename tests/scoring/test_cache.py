import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gan_modules.scoring.cache import FeatureCache, SetDigest, sample_digests


def random_images(n, *shape):
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8)


def test_what_is_kept_comes_back(tmp_path):
    cache = FeatureCache(tmp_path)
    tensors = {"features": torch.randn(5, 3), "logits": torch.randn(5, 2)}
    assert cache.get("a1") is None
    cache.put("a1", tensors)
    found = FeatureCache(tmp_path).get("a1")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert cache.get("a2") is None


def test_any_flipped_byte_and_any_cut_is_a_miss(tmp_path):
    cache = FeatureCache(tmp_path)
    cache.put("key", {"features": torch.randn(4, 2)})
    (path,) = tmp_path.rglob("*.safetensors")
    whole = path.read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        found = cache.get("key")
        assert found is None, at
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert cache.get("key") is None


def test_the_folder_by_argument_by_environment_and_by_default(tmp_path, monkeypatch):
    assert FeatureCache(tmp_path / "given").folder == tmp_path / "given"
    monkeypatch.setenv("GAN_MODULES_CACHE", str(tmp_path / "environment"))
    assert FeatureCache().folder == tmp_path / "environment"
    assert FeatureCache(tmp_path / "given").folder == tmp_path / "given"
    monkeypatch.delenv("GAN_MODULES_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert FeatureCache().folder == tmp_path / "cache" / "gan_modules"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FeatureCache().folder == tmp_path / ".cache" / "gan_modules"


def test_a_disk_that_refuses_is_only_warned_of(tmp_path):
    (tmp_path / "file").write_text("")
    cache = FeatureCache(tmp_path / "file")
    with pytest.warns(UserWarning, match="not cached for the next run: .*could not be written"):
        cache.put("key", {"features": torch.zeros(1, 1)})
    assert cache.get("key") is None


WRITER = """
import sys, torch
from pathlib import Path
from gan_modules.scoring.cache import FeatureCache
cache = FeatureCache(Path(sys.argv[1]))
print("ready", flush=True)
number = 0
while True:
    cache.put("key", {"features": torch.full((200_000, 8), float(number))})
    number += 1
"""


def test_a_killed_writer_leaves_no_half_file(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], env=environment, stdout=subprocess.PIPE)
    writer.stdout.readline()
    cache, seen = FeatureCache(tmp_path), set()
    while len(seen) < 3:
        if (found := cache.get("key")) is not None:  # none where one file took another's place between two looks
            (value,) = found["features"].unique().tolist()
            seen.add(value)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert cache.get("key")["features"].unique().numel() == 1


def test_the_hash_of_a_set_heeds_every_pixel_but_not_the_order():
    torch.manual_seed(0)
    images = random_images(10, 3, 4, 5)

    def digest(*batches):
        found = SetDigest()
        for batch in batches:
            found.update(sample_digests(batch))
        return str(found)

    whole = digest(images)
    assert digest(images[:3], images[3:]) == digest(images.flip(0)) == whole
    assert digest(images.to(memory_format=torch.channels_last)) == whole
    one_pixel = images.clone()
    one_pixel[9, 2, 3, 4] ^= 1
    turned = images.view(10, 3, 5, 4)
    others = [one_pixel, turned, images[:9], torch.cat([images, images[:1]]), torch.cat([images, images])]
    assert len({whole, *map(digest, others)}) == 6
    first = hashlib.blake2b(images[0].numpy().tobytes(), digest_size=16, key=b"(3, 4, 5)").digest()
    assert sample_digests(images)[0] == first
    expected = sum(int.from_bytes(d[:8], sys.byteorder) for d in sample_digests(images)) % 2**64
    assert whole == f"{expected:016x}"
