"""What an installation holds, what it can do without its extras, and that all tools run the same tests."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from sslmri import project

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_wheel_holds_what_the_dashboard_and_training_need():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    bundled = {Path(target).relative_to("sslmri/_bundled") for target in wheel["force-include"].values()}
    bundled |= {Path(target).relative_to("sslmri/_bundled") for target in wheel["sources"].values() if "_b" in target}
    assert bundled == {Path(name) for name in ("app.py", "train.py", "LICENCES.md", "pages", ".streamlit", "models")}
    assert all((ROOT / source).exists() for source in [*wheel["only-include"], *wheel["force-include"]])


def test_a_clone_uses_its_own_app_and_model():
    assert project.PROJECT == ROOT
    assert (project.DEFAULT_MODEL / "model.json").is_file()


def test_arguments_after_train_reach_the_commands_of_train_py(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sslmri"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit, match="0"):
        project.run_train(["pretrain", "--help"])
    assert "usage: sslmri train pretrain" in capsys.readouterr().out


def test_arguments_after_app_go_to_streamlit_with_the_path_of_the_app(monkeypatch):
    started = []
    monkeypatch.setattr(sys, "argv", ["sslmri"])
    monkeypatch.setattr(project.runpy, "run_module", lambda name, run_name: started.append((name, sys.argv)))
    assert project.run_app(["--server.port", "8600"]) == 0
    assert started == [("streamlit", ["streamlit", "run", str(ROOT / "app.py"), "--server.port", "8600"])]


def test_the_model_card_is_what_the_command_prints(call):
    done = call("sslmri", "model-card")
    assert (done.returncode, done.stdout) == (0, (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8"))


def test_hooks_and_workflow_run_make_test():
    assert re.search(r"^make test$", (ROOT / ".ci" / "run").read_text(), re.M)
    assert "run: .ci/run" in (ROOT / ".github" / "workflows" / "test.yml").read_text()
    assert "entry: make test" in (ROOT / ".pre-commit-config.yaml").read_text()


def test_the_version_is_the_same_in_package_citation_and_changelog():
    version = PROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^## {re.escape(version)} ", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_the_server_parts_without_a_public_interface_are_of_the_pinned_streamlit():
    from sslmri.dashboard.server.streamlit_internals import SUPPORTED

    assert f"streamlit=={SUPPORTED}.*" in PROJECT["project"]["dependencies"]
