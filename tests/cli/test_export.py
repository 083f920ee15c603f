"""`headgate export --proven`: what it writes, what it holds a file against, and how it ends."""

from __future__ import annotations

import asyncio
import copy
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.apiserver import ApiServer
from tests.cli import stories
from tests.cli.test_status import command, store
from tests.scenarios.memory import Story

from headgate.api.accept import parse
from headgate.cli import exits, export, main
from headgate.cli.kept import proven_revision, read_kept
from headgate.cli.reach import NotFound, Reach

NAMESPACE = "kept"


def called(*names: str, **changes: Any) -> Namespace:
    """Return the arguments of `headgate export --proven NAME…`, changed."""
    usual = {"names": list(names), "proven": True, "check": None, "output": "yaml"}
    return Namespace(**{**usual, **changes})


async def run(story: Story, *names: str, **changes: Any) -> int:
    """Run the verb against a story's cluster."""
    args, there = called(*names, **changes), Reach(story.cluster, "models")
    if args.check is not None:
        return await export._check(there, args)
    return await export._export(there, args)


def version_kept(text: str) -> str:
    """The version that an exported document keeps."""
    document = yaml.safe_load(text)
    return str(document["spec"]["rollout"]["provenRevision"]["model"]["version"])


CASES = [
    pytest.param(lambda: stories.first("Stable"), "1", id="a proven first revision"),
    pytest.param(lambda: stories.second("Stable"), "2", id="a promoted second one"),
    pytest.param(lambda: stories.second("Progressing"), "1", id="stable, not its canary"),
    pytest.param(lambda: stories.second("Baking", 10), "1", id="not one in its bake"),
    pytest.param(stories.rolled_back, "1", id="not one that went back"),
]


@pytest.mark.parametrize(("told", "wanted"), CASES)
async def test_what_is_kept_is_what_is_proven(
    told: Any, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what went through its bake is written, whatever has the traffic now."""
    story = await told()

    assert await run(story) == exits.OK

    assert version_kept(capsys.readouterr().out) == wanted


async def test_what_was_rejected_after_its_bake_is_not_kept() -> None:
    """A revision that broke an objective later is not proven any more."""
    story = await stories.second("Stable")
    found = stories.objects(story)
    status = {**found.deployments[0]["status"], "stable": None}
    hash = found.deployments[0]["status"]["stable"]["hash"]
    status["rejected"] = [{"hash": hash, "version": "2", "reason": "ObjectiveBroken"}]
    deployment = {**found.deployments[0], "status": status}

    kept = proven_revision(deployment, found.revisions, found.rollouts)

    assert kept is not None
    assert kept.model.version == "1"


async def test_document_is_a_patch_that_the_operator_accepts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Merged into the ModelDeployment it is valid, and names the record that proved it."""
    story = await stories.second("Stable")
    assert await run(story, "fraud") == exits.OK
    text = capsys.readouterr().out
    document = yaml.safe_load(text)
    live = story.cluster.all("ModelDeployment")[0]

    block = document["spec"]["rollout"]["provenRevision"]
    whole = copy.deepcopy(live)
    whole["spec"]["rollout"]["provenRevision"] = block
    kept = parse(whole).spec.rollout.proven_revision

    assert text.startswith("# Written by headgate export --proven")
    assert document["metadata"] == {"name": "fraud", "namespace": "models"}
    assert list(document["spec"]) == ["rollout"]
    assert kept is not None
    assert kept.hash == live["status"]["stable"]["hash"]
    record = story.cluster.find("ModelRollout", "models", "fraud-0002")
    assert record is not None
    assert block["rollout"] == {"name": "fraud-0002", "digest": record["status"]["digest"]}


async def test_export_twice_is_equal_byte_for_byte(capsys: pytest.CaptureFixture[str]) -> None:
    """A file in Git changes only when something else is proven."""
    story = await stories.first("Stable")
    await run(story)
    first = capsys.readouterr().out
    story.commit("2", rollout={"paused": True})
    await story.once()
    await run(story)

    assert capsys.readouterr().out == first


async def test_a_deployment_without_proof_is_left_out_and_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is made up for it, and who named it sees the exit code."""
    story = await stories.first("Baking")

    assert await run(story, "fraud") == exits.FAILED

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "headgate export: models/fraud: nothing is proven yet, left out\n"


async def test_an_unknown_name_is_not_found() -> None:
    """As with every verb, near names are offered."""
    story = await stories.first("Stable")

    with pytest.raises(NotFound, match="did you mean fraud"):
        await run(story, "frud")


@pytest.fixture
async def kept_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A file in Git that keeps version 1."""
    await run(await stories.first("Stable"))
    path = tmp_path / "fraud-proven.yaml"
    path.write_text(capsys.readouterr().out)
    return path


def edit(path: Path, old: str, new: str) -> None:
    """Change a file by hand."""
    path.write_text(path.read_text().replace(old, new))


async def test_check_is_content_with_a_file_that_keeps_what_is_proven(
    kept_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A canary beside it changes nothing: CI stays green."""
    story = await stories.second("Progressing")

    assert await run(story, check=kept_file) == exits.OK
    assert capsys.readouterr().out == "models/fraud: keeps what is proven\n"


async def test_check_names_both_versions_where_they_differ(
    kept_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version 2 was proven since: CI says so, and ends with 1."""
    story = await stories.second("Stable")

    assert await run(story, check=kept_file) == exits.FAILED

    one, two = (r["spec"] for r in story.cluster.all("ModelRevision"))
    older, newer = sorted((one, two), key=lambda s: str(s["model"]["version"]))
    assert capsys.readouterr().out == (
        f"models/fraud: keeps version 1 ({older['hash']}), proven is version 2 ({newer['hash']})\n"
    )


async def test_check_names_the_field_that_was_changed_by_hand(
    kept_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that the operator would refuse fails before it is needed."""
    edit(kept_file, "s3://models/fraud/1", "s3://models/fraud/9")

    assert await run(await stories.first("Stable"), check=kept_file) == exits.FAILED
    assert "models/fraud: spec.rollout.provenRevision.digest: wanted" in capsys.readouterr().out


async def test_check_says_what_the_cluster_does_not_have(
    kept_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A deployment that is only in Git, or a file that keeps nothing of a proven one."""
    gone = Story()
    assert await run(gone, check=kept_file) == exits.FAILED
    assert capsys.readouterr().out == "models/fraud: is in the file and not in the cluster\n"

    story = await stories.first("Stable")
    edit(kept_file, "spec:\n  rollout:\n    provenRevision:", "kept:\n  rollout:\n    proven:")
    assert await run(story, "fraud", check=kept_file) == exits.FAILED
    assert "keeps nothing, proven is version 1" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "kind: ConfigMap", "{", "[1, 2]", "kind: ModelDeployment"])
def test_a_file_without_deployments_is_one_line(
    text: str, tmp_path: Path, apiserver: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is in the file, the verb ends with 1 and one line."""
    path = tmp_path / "file.yaml"
    path.write_text(text)

    code = main(
        ["export", "--proven", "--check", str(path), "--kubeconfig", str(apiserver.kubeconfig)]
    )

    told = capsys.readouterr()
    assert code == exits.FAILED
    assert len((told.err + told.out).splitlines()) == 1


def test_what_exports_nothing_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """The verb has one subject so far, and it has to be named."""
    with pytest.raises(SystemExit) as ended:
        main(["export", "fraud"])

    assert ended.value.code == exits.USAGE
    assert "--proven" in capsys.readouterr().err


@pytest.mark.apiserver
def test_patch_of_a_real_cluster_goes_back_into_it(apiserver: ApiServer, tmp_path: Path) -> None:
    """Exported as a process, applied by kubectl beside the file of the deployment, checked: equal.

    The block is a field manager's of its own, so the deployment's own file need not have it.
    """
    story = asyncio.run(stories.second("Stable"))
    found = stories.objects(story)
    apiserver.kubectl("create", "namespace", NAMESPACE)
    try:
        asyncio.run(
            store(apiserver, [*found.deployments, *found.revisions, *found.rollouts], NAMESPACE)
        )
        login = {"KUBECONFIG": str(apiserver.kubeconfig)}
        done = command("export", "--proven", "fraud", "-n", NAMESPACE, **login)
        assert done.returncode == exits.OK, done.stderr
        patch = tmp_path / "fraud-proven.yaml"
        patch.write_text(done.stdout)

        apiserver.kubectl("apply", "--server-side", "--field-manager=proven", "-f", str(patch))
        checked = command("export", "--proven", "--check", str(patch), **login)
        live = apiserver.kubectl("get", "md", "fraud", "-n", NAMESPACE, "-o", "yaml")
        read = yaml.safe_load(live)
    finally:
        # No controller empties a namespace here, and other tests say what names there are.
        apiserver.kubectl("delete", "md,mrev,mro", "--all", "-n", NAMESPACE)

    assert checked.stdout == f"{NAMESPACE}/fraud: keeps what is proven\n"
    assert checked.returncode == exits.OK
    kept = read_kept(read, read)
    assert kept is not None
    assert kept.model.version == "2"
    assert read["spec"]["model"]["version"] == "2"
