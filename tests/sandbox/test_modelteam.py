"""The model team: the edit that makes one version the next, and its commits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from headgate.api.accept import parse
from sandbox.gitsync import export, make_repository, read_commit
from sandbox.modelteam import FILE, GitError, ModelTeam, changed_lines, with_version
from sandbox.paths import ROOT

EXAMPLE = ROOT / "manifests" / "examples" / "demo"


def test_the_example_is_a_deployment_that_headgate_accepts() -> None:
    """What the demo commits passes the same checks as anybody's file, in each of its versions."""
    text = (EXAMPLE / FILE).read_text()

    for version in ("1", "2", "3", "4"):
        deployment = parse(yaml.safe_load(with_version(text, version)))

        assert deployment.spec.model.version == version
        model = deployment.spec.template.spec["predictor"]["model"]
        assert model["storageUri"].endswith(f"/fraud/{version}/model.joblib")


def test_a_new_version_is_two_lines() -> None:
    """Comments and order stay as people wrote them, so a diff says only what changed."""
    before = (EXAMPLE / FILE).read_text().splitlines()

    after = with_version("\n".join(before), "2").splitlines()

    changed = [line.strip() for old, line in zip(before, after, strict=True) if old != line]
    assert changed == [
        'version: "2"',
        "storageUri: http://models.store.svc.cluster.local/fraud/2/model.joblib",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "version: wanted it once, found it 0 times", id="an empty file"),
        pytest.param(
            '  version: "1"\n  version: "1"\n',
            "version: wanted it once, found it 2 times",
            id="two versions",
        ),
        pytest.param(
            '  version: "1"\n', "storageUri: wanted it once, found it 0 times", id="no storage"
        ),
    ],
)
def test_what_cannot_be_edited_for_sure_is_refused(text: str, message: str) -> None:
    """A wrong edit would be committed, and the story told about something else."""
    with pytest.raises(ValueError, match=message):
        with_version(text, "2")


def test_a_diff_is_shown_without_its_headers() -> None:
    """Only the lines that a person changed are left."""
    diff = "--- a/models/fraud.yaml\n+++ b/models/fraud.yaml\n@@ -8 +8 @@\n-  old\n+  new\n"

    assert changed_lines(diff) == "-  old\n+  new"


@pytest.fixture
def team(tmp_path: Path) -> ModelTeam:
    """Return a team whose first version is pushed."""
    make_repository(tmp_path / "models.git")
    team = ModelTeam(tmp_path / "models.git", tmp_path / "work")
    team.clone()
    team.take(EXAMPLE)
    team.commit("Serve the fraud model")
    return team


def test_a_commit_reaches_the_repository_that_the_cluster_follows(
    team: ModelTeam, tmp_path: Path
) -> None:
    """What was edited is what is synced, and the short name is that of the commit."""
    assert team.edit("2").splitlines()[:2] == ['-    version: "1"', '+    version: "2"']
    name = team.commit("Fraud model 2")

    commit = read_commit(team.origin)
    assert commit.startswith(name)
    export(team.origin, commit, tmp_path / "tree")
    assert 'version: "2"' in (tmp_path / "tree" / FILE).read_text()
    assert (tmp_path / "tree" / "cluster" / "namespace.yaml").exists()


def test_a_revert_is_a_commit_that_brings_the_former_content_back(team: ModelTeam) -> None:
    """History grows by one, and nobody's push is undone by force."""
    before = (team.folder / FILE).read_text()
    team.edit("2")
    released = team.commit("Fraud model 2")

    name = team.revert()

    assert (team.folder / FILE).read_text() == before
    assert read_commit(team.origin).startswith(name)
    command = ["git", "--git-dir", str(team.origin), "log", "-2", "--format=%h %s", "main"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f'{name} Revert "Fraud model 2"',
        f"{released} Fraud model 2",
    ]


def test_the_users_own_git_settings_do_not_matter(
    team: ModelTeam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who signs every commit, and has no key here, can run the demo all the same."""
    settings = tmp_path / ".gitconfig"
    settings.write_text("[commit]\n\tgpgsign = true\n[gpg]\n\tprogram = /does/not/exist\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    team.edit("2")

    team.commit("Fraud model 2")

    command = ["git", "--git-dir", str(team.origin), "log", "-1", "--format=%an: %s", "main"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Model team: Fraud model 2"


def test_what_git_refuses_is_said_in_its_own_words(team: ModelTeam) -> None:
    """A commit without a change is none."""
    with pytest.raises(GitError, match="git commit"):
        team.commit("Nothing")


def test_a_new_telling_begins_with_an_empty_clone(team: ModelTeam) -> None:
    """What an earlier demo left in the folder is not committed again."""
    (team.folder / "left-behind").touch()

    team.clone()

    assert [entry.name for entry in team.folder.iterdir()] == [".git"]


def test_a_revert_is_a_commit_that_restores_the_file(team: ModelTeam) -> None:
    """What serves again is what served before, byte for byte, and the history keeps both."""
    before, first = (team.folder / FILE).read_text(), team.head()
    team.edit("2")
    second = team.commit("Fraud model 2")

    name = team.revert()

    assert (team.folder / FILE).read_text() == before
    assert team.head() == read_commit(team.origin)
    assert team.head().startswith(name)
    assert len({first, second, name}) == 3


def test_a_second_team_goes_on_where_the_first_one_is(team: ModelTeam, tmp_path: Path) -> None:
    """Of two clones of one repository both push; one that is empty has nothing to catch up with."""
    empty = ModelTeam(tmp_path / "empty.git", tmp_path / "nothing")
    make_repository(empty.origin)
    empty.clone()
    other = ModelTeam(team.origin, tmp_path / "other")
    other.clone()

    empty.catch_up()
    other.catch_up()
    other.edit("2")
    other.commit("Fraud model 2")
    team.catch_up()

    assert [entry.name for entry in empty.folder.iterdir()] == [".git"]
    assert team.head() == other.head() == read_commit(team.origin)
