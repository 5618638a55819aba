from __future__ import annotations

from pathlib import Path

import pytest

from slidekin_models.errors import TrainingError
from slidekin_models.training.checkpoints import RunFolder
from slidekin_models.training.settings import TrainSettings

SETTINGS = TrainSettings(slides=(Path("/slides"),))


def write_step(folder: RunFolder, step: int) -> None:
    folder.write(step, lambda part: (part / "state").write_text(str(step)) and None)


def test_the_newest_whole_checkpoint_is_found_and_older_ones_go(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    with folder.claimed(SETTINGS):
        assert folder.newest() is None
        for step in (90, 200, 1000):
            write_step(folder, step)
        step, path = folder.newest() or (0, tmp_path)
    assert (step, (path / "state").read_text()) == (1000, "1000")
    assert len(list(folder.path.glob("checkpoint-*"))) == 1


def test_a_checkpoint_cut_off_by_a_kill_is_not_taken(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    with folder.claimed(SETTINGS):
        write_step(folder, 100)
        folder.part(200).mkdir()
        (folder.part(200) / "state").write_text("half")
    with folder.claimed(SETTINGS):
        assert (folder.newest() or (0, None))[0] == 100
        assert not folder.part(200).exists()


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")

    def full(part: Path) -> None:
        (part / "state").write_text("half")
        raise OSError(28, "No space left on device")

    with folder.claimed(SETTINGS):
        write_step(folder, 100)
        with pytest.raises(TrainingError, match=r"No space left.*step 100 stands.*make room"):
            folder.write(200, full)
        assert (folder.newest() or (0, None))[0] == 100
        assert not folder.part(200).exists()


def test_a_folder_of_another_run_is_refused_by_what_differs(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    with folder.claimed(SETTINGS):
        pass
    with folder.claimed(SETTINGS):
        pass
    other = SETTINGS.model_copy(update={"seed": 7})
    with pytest.raises(TrainingError, match=r"another run .seed was 0, now 7.*another --out"):
        folder.claimed(other).__enter__()


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(TrainingError, match="not a training run: name another"):
        RunFolder(tmp_path).claimed(SETTINGS).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path / "out").claimed(SETTINGS),
        pytest.raises(TrainingError, match="another process is training there"),
    ):
        RunFolder(tmp_path / "out").claimed(SETTINGS).__enter__()


def test_the_record_goes_back_to_the_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    with folder.claimed(SETTINGS):
        for step in (10, 20, 30):
            folder.add_metrics({"step": step, "loss": 1 / step})
        with (folder.path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 40, "lo')
        assert [line["step"] for line in folder.metrics(up_to_step=20)] == [10, 20]
        folder.add_metrics({"step": 30, "loss": 0.5})
        assert folder.metrics()[-1] == {"step": 30, "loss": 0.5}
