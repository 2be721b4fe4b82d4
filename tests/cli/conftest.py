import sys

import pytest

from gan_modules.cli import main


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Give the command line its words, in a folder of its own; what it prints to stdout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAN_MODULES_TRACEBACK", raising=False)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gan-modules", *map(str, words)])
        main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def complaint(run, capsys):
    """The one sentence with which a mistake ends."""

    def complaint(*words):
        with pytest.raises(SystemExit) as stopped:
            run(*words)
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert said.splitlines()[-1] == sentence
        return sentence.removeprefix("error: ")

    return complaint
