"""Places that cannot be written to: every command says so before it does its work."""

import os
from pathlib import Path

import pytest
from PIL import Image

from gan_modules.commands.outputs import check_file, check_folder
from gan_modules.errors import GANError

NEVER_READ = "--ckpt_path=not_even_there.ckpt"  # a later look at the place would complain of this first
NO_FOLDER = "'notes.txt' is no folder, so nothing can be written to it: pass another --out."


@pytest.fixture
def place(tmp_path):
    (tmp_path / "notes.txt").write_text("no folder")
    (tmp_path / "taken.png").mkdir()
    (tmp_path / "taken.gif").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "black.png")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(tmp_path / "in" / "deep" / "black.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").write_text("no folder")
    return sorted(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sample", "--out=notes.txt"], NO_FOLDER),
        (["sample", "--out=notes.txt/deep/folder"], NO_FOLDER),
        (["sample", "--out=notes.txt/grid.png"], NO_FOLDER),
        (["sample", "--out=taken.png"], "'taken.png' is a folder: pass a file's name as --out."),
        *(
            (
                ["sample", f"--out={name}"],
                f"'{name}' is no name for a picture: let it end in .png, or in .npy, or name a folder for a file each.",
            )
            for name in ("grid.jpg", "sound.wav", "clip.gif")
        ),
        (["interpolate", "--out=notes.txt/movie.gif"], NO_FOLDER),
        (["interpolate", "--out=taken.gif"], "'taken.gif' is a folder: pass a file's name as --out."),
        (["mix", "--out=notes.txt/mix.png"], NO_FOLDER),
        (["mix", "--out=mix.jpeg2"], "'mix.jpeg2' is no name for a sheet: let it end in .png."),
        (["project", "--image=black.png", "--out=notes.txt"], NO_FOLDER),
        (["project", "--image=black.png", "--out=notes.txt/found"], NO_FOLDER),
        (["translate", "--input=in", "--output=notes.txt"], NO_FOLDER.replace("--out", "--output")),
        (
            ["translate", "--input=in", "--output=out"],
            "'out/deep' is no folder, so nothing can be written to it: pass another --output.",
        ),
    ],
)
def test_it_is_said_before_the_checkpoint_is_read(words, sentence, place, complaint, tmp_path):
    assert complaint(*words, NEVER_READ) == sentence
    assert sorted(tmp_path.rglob("*")) == place


@pytest.mark.parametrize("folder", ["/proc/gan_modules", "/sys/gan_modules/deep"])
def test_a_folder_that_cannot_be_made(folder):
    """Not even by root."""
    if not Path(folder).parents[-2].is_dir():
        pytest.skip("there is no such file system here")
    with pytest.raises(GANError, match=r"^Nothing can be written to '/(proc|sys)' \(.+\): pass another --out.$"):
        check_folder(Path(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_may_not_be_written(tmp_path):
    (tmp_path / "kept.png").touch(0o400)
    with pytest.raises(GANError, match=r"kept.png' may not be overwritten"):
        check_file(tmp_path / "kept.png")
    (tmp_path / "closed").mkdir(0o500)
    with pytest.raises(GANError, match=r"closed' \(Permission denied\)"):
        check_file(tmp_path / "closed" / "grid.png")


def test_a_good_place_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("old.png").write_bytes(b"old")
    for file in ("old.png", "new.png", "new/deep/new.png", tmp_path / "new.png"):
        check_file(Path(file))
    for folder in (".", "new/folder", tmp_path):
        check_folder(Path(folder))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
