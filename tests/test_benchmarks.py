"""The benchmarks run, and end with the line that is compared from one version to the next."""

import json
from typing import Any

import pytest

from benchmarks import gpu, pretrain, saliency, scale, screen


def last_line(text: str) -> dict[str, Any]:
    return json.loads(text.splitlines()[-1])


def test_scale_ends_with_the_ratio_and_the_growth(capsys):
    scale.main(["--records", "200", "--rounds", "1"])
    printed = capsys.readouterr().out
    assert printed.startswith("| records | manifest, s | store built, s |")
    figures = last_line(printed)
    assert figures.keys() == {"time_ratio", "memory_growth_mb"}
    assert figures["time_ratio"] > 0


def test_screen_ends_with_a_ratio_for_each_kind_of_file(capsys):
    screen.main(["--files", "17", "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "| 17 512_px_png |" in printed
    figures = last_line(printed)
    ratios = ("ours_over_bare", "ours_over_bare_cpu", "embed_over_bare", "embed_over_bare_cpu")
    kinds = ("128_px_jpg", "512_px_png")
    grown = {f"embed_growth_mb_{kind}" for kind in kinds}
    assert figures.keys() - grown == {f"{ratio}_{kind}" for ratio in ratios for kind in kinds}
    assert all(figures[name] > 0 for name in figures.keys() - grown)


def test_pretrain_ends_with_the_rates_of_all_three(capsys):
    pytest.importorskip("lightly")
    pretrain.main(["--files", "16", "--size", "32", "--batch-size", "8", "--rounds", "1"])
    figures = last_line(capsys.readouterr().out)
    assert figures.keys() == {"ours", "lightly", "bare", "ours_over_lightly", "ours_over_bare"}
    assert figures["ours_over_bare"] == pytest.approx(figures["ours"] / figures["bare"], rel=0.05)


def test_saliency_ends_with_the_speed_and_the_overhead(capsys, monkeypatch):
    monkeypatch.setattr(saliency, "_BATCHES", (1, 2))
    monkeypatch.setattr(saliency, "_SHORT", 3)
    saliency.main(["--rounds", "1"])
    figures = last_line(capsys.readouterr().out)
    assert figures.keys() == {"grad_cam_over_ours", "overhead_of_forward"}
    assert figures["grad_cam_over_ours"] > 1


def test_gpu_says_that_there_is_none(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    gpu.main([])
    printed = capsys.readouterr().out
    assert "No GPU here" in printed
    assert last_line(printed) == {"slices_per_s": None, "share_of_peak": None, "projected_s": None}
