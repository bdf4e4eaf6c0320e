import json
from pathlib import Path

import numpy as np
import pytest

from kinema.cli import main as cli
from kinema.media import write_video


def test_a_recipe_becomes_a_data_set_that_can_be_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "footage").mkdir()
    ramp = np.linspace(0, 255, 160, dtype=np.uint8)[None, :, None].repeat(64, axis=0).repeat(3, axis=2)
    write_video(tmp_path / "footage/a.mp4", np.stack([ramp[:, 2 * k : 2 * k + 96] for k in range(16)]), 12)
    (tmp_path / "footage/a.txt").write_text("a ramp slides")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"[[sources]]\npath = '{tmp_path / 'footage'}'\n[limits]\nworkers = 0\n"
        "[keep]\nmin_sharpness = 0.0\nmin_motion = 0.0\n"
    )
    out = str(tmp_path / "d")
    assert cli.main(["data", "run", str(recipe), "--out", out]) == 0
    assert "ingest   1 done, 0 failed, 0 as they were" in capsys.readouterr().out
    assert cli.main(["data", "query", out, "split_reason IS NULL", "--columns", "caption,num_frames"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["caption"], row["num_frames"]) == ("a ramp slides", 16)
    assert cli.main(["data", "show", out, row["clip_id"][:6], "--out", str(tmp_path / "clip.mp4")]) == 0
    assert json.loads(capsys.readouterr().out)["clip_id"] == row["clip_id"]
    assert (tmp_path / "clip.mp4").stat().st_size > 0
    assert cli.main(["data", "stats", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 1
    assert cli.main(["data", "diff", out, out]) == 0
    assert capsys.readouterr().out == "no difference\n"
    assert cli.main(["data", "show", out, "nothing"]) == 5
    assert "kinema data query" in capsys.readouterr().err


def test_mistakes_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[[sources]]\npath = 'x'\nlicence = 'MIT'\n")
    assert cli.main(["data", "run", str(recipe)]) == 2
    assert "did you mean 'license'" in capsys.readouterr().err
    recipe.write_text("[[sources]]\npath = 'x'\n")
    assert cli.main(["data", "run", str(recipe), "--stages", "splitt"]) == 2
    assert "did you mean 'split'" in capsys.readouterr().err
    assert cli.main(["data", "run", str(recipe), "--dry-run", "--stages", "ingest"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"] == ["ingest"]
    assert cli.main(["data", "qurey"]) == 2
    assert "did you mean 'query'" in capsys.readouterr().err
    assert cli.main(["data", "stats", str(tmp_path)]) == 5
