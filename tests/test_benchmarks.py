"""The benchmarks run, and end with the line that is compared from one version to the next."""

import json

from benchmarks import scale, screen


def last_line(text: str) -> dict[str, float]:
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
    assert "| 512 px PNG |" in printed
    figures = last_line(printed)
    assert figures.keys() == {"ours_over_bare_128", "ours_over_bare_512"}
    assert min(figures.values()) > 0
