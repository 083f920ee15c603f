"""The image: what is in it starts, is always the same, and is what the chart runs."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.rendering import CHART, ROOT, containers, of_kind, template

import headgate
from headgate.cli import VERBS
from sandbox.packages import make_environment

EPOCH = 1_764_000_000
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "operator", "image", "requirements")

Json = dict[str, Any]


def dockerfile() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with their arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line.strip() for line in joined.splitlines() if line.strip()]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions by stage."""
    found: dict[str, list[tuple[str, str]]] = {"": []}
    name = ""
    for word, rest in dockerfile():
        if word == "FROM":
            name = rest.split()[-1]
            found[name] = []
        found[name].append((word, rest))
    return found


def last(stage: str, word: str) -> str:
    """The argument of the last such instruction of a stage."""
    return [rest for found, rest in stages()[stage] if found == word][-1]


def copied(root: Path) -> Path:
    """A copy of what the image is built from, written anew and with other times."""
    for name in SOURCES:
        source, target = ROOT / name, root / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return root


def test_the_chart_runs_the_image_as_it_is_built() -> None:
    """User, port and program of the Dockerfile are those of the pods."""
    rendered = template({"collector": {"enabled": True}, "writeback": {"enabled": True}})
    user = last("runtime", "USER")
    assert user == last("headgate-writeback", "USER") == "65532:65532"
    for deployment in of_kind(rendered, "Deployment"):
        context = deployment["spec"]["template"]["spec"]["securityContext"]
        assert f"{context['runAsUser']}:{context['runAsGroup']}" == user
    for container in containers(rendered).values():
        assert "command" not in container
        assert [str(port["containerPort"]) for port in container["ports"]] == [
            last("runtime", "EXPOSE")
        ]
        assert container["volumeMounts"][0]["mountPath"] == last("runtime", "WORKDIR") == "/tmp"


def test_the_entry_point_is_a_program_of_the_wheel_and_its_arguments_are_verbs() -> None:
    """What a container starts exists: `headgate operator`, `collector`, and what is default."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [program] = json.loads(last("runtime", "ENTRYPOINT"))
    target = shlex.split(last("build", "RUN"))[-1]
    rendered = template({"collector": {"enabled": True}})
    verbs = {argument for each in containers(rendered).values() for argument in each["args"]}

    assert Path(program) == Path(target) / "bin" / "headgate"
    assert "headgate" in project["scripts"]
    assert verbs == {"operator", "collector"}
    assert verbs <= {verb for verb, _ in VERBS}
    assert json.loads(last("headgate", "CMD")) == ["operator"]


def test_the_default_target_is_the_operator_and_bases_are_given_by_argument() -> None:
    """`docker build .` makes the operator's image; whoever builds says which base, by digest."""
    bases = [rest.split()[0] for word, rest in dockerfile() if word == "FROM"]

    assert list(stages())[-1] == "headgate"
    assert bases == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}", "runtime", "runtime"]
    assert last("", "ARG").startswith("PYTHON_IMAGE=python")


def test_nothing_is_installed_without_a_hash() -> None:
    """All packages are pinned; the wheel is the only file that is installed by its path."""
    script = (ROOT / "image" / "assemble.sh").read_text().replace("\\\n", " ")
    installs = [line for line in script.splitlines() if line.startswith("install ")]

    assert len(installs) == 3
    assert [("--require-hashes" in line) or ('"$wheels"/*.whl' in line) for line in installs] == (
        [True] * 3
    )
    for name in ("build.txt", "run.txt"):
        pinned = (ROOT / "requirements" / name).read_text()
        packages = re.findall(r"^[a-z0-9]\S*==\S+", pinned, re.MULTILINE)
        assert len(packages) == len(re.findall(r"^[a-z0-9]", pinned, re.MULTILINE)) > 0


def test_labels_are_those_of_the_standard() -> None:
    """Title, licence, version, commit and base are told by OCI's own keys."""
    labels = last("runtime", "LABEL")
    keys = {
        key.rpartition(".")[2] for key in re.findall(r"(org\.opencontainers\.image\.\S+?)=", labels)
    }

    assert {"title", "licenses", "version", "revision", "created", "name"} <= keys
    [version] = [rest for word, rest in stages()["runtime"] if rest.startswith("VERSION=")]
    assert version == f"VERSION={headgate.__version__}"
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == headgate.__version__


def test_what_is_copied_is_let_through_and_nothing_else() -> None:
    """.dockerignore lets exactly the sources of the first stage into the build."""
    ignored = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    let_through = {line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")}
    sources = {
        word.rstrip("/")
        for instruction, rest in stages()["build"]
        if instruction == "COPY"
        for word in rest.split()[:-1]
    }

    assert ignored[0] == "*"
    assert sources == let_through
    assert all((ROOT / source).exists() for source in sources)
    closed = [line for line in ignored if not line.startswith("!")]
    assert any(fnmatch.fnmatch("a/__pycache__", line) for line in closed)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what builds the wheel, as it is pinned."""
    folder = tmp_path_factory.mktemp("builder") / "venv"
    make_environment(folder, ROOT / "requirements" / "build.txt", "build")
    return folder / "bin" / "python"


def wheel(builder: Path, sources: Path, target: Path) -> bytes:
    """Build the wheel of `sources` and return its bytes."""
    command = [str(builder), "-m", "hatchling", "build", "--target", "wheel", "-d", str(target)]
    environment = {"SOURCE_DATE_EPOCH": str(EPOCH), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, cwd=sources, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [file] = target.glob("*.whl")
    return file.read_bytes()


def test_the_wheel_is_the_same_bytes_again(builder: Path, tmp_path: Path) -> None:
    """Another folder, another day, other file times: one commit, one wheel."""
    for name in ("one", "two"):
        copied(tmp_path / name)
    for number, path in enumerate((tmp_path / "two").rglob("*")):
        os.utime(path, (EPOCH + number, EPOCH + number))
    first = wheel(builder, tmp_path / "one", tmp_path / "one-out")
    second = wheel(builder, tmp_path / "two", tmp_path / "two-out")

    assert hashlib.sha256(first).hexdigest() == hashlib.sha256(second).hexdigest()


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first stage puts into the image, made by the same script."""
    folder = tmp_path_factory.mktemp("image")
    target = folder / "headgate"
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "PYTHON": sys.executable}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        ["sh", str(copied(folder / "src") / "image" / "assemble.sh"), str(target)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def run(program: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program with nothing in its environment but `variables`."""
    return subprocess.run(
        [str(program), *arguments],
        env=variables,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_verb_starts_from_a_clean_environment(assembled: Path) -> None:
    """No package is missing: each verb answers --help, and the version is this one."""
    program = assembled / "bin" / "headgate"

    assert run(program, "version").stdout == f"headgate {headgate.__version__}\n"
    for verb, _ in VERBS:
        assert run(program, verb, "--help").returncode == 0, verb


def test_the_image_has_the_kinds_it_was_built_for(assembled: Path) -> None:
    """`headgate crds` of the image prints what crds/ holds."""
    printed = run(assembled / "bin" / "headgate", "crds").stdout
    kinds = {each["metadata"]["name"]: each for each in yaml.safe_load_all(printed)}
    files = [yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")]

    assert kinds == {each["metadata"]["name"]: each for each in files}


def test_a_wrong_setting_stops_the_operator_with_one_line(assembled: Path) -> None:
    """What a pod would log: exit code 2 and a sentence, no traceback."""
    done = run(assembled / "bin" / "headgate", "operator", HEADGATE_WORKERS="many")

    assert done.returncode == 2
    assert "HEADGATE_WORKERS: wanted a whole number" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_build_tool_is_left_and_no_time_of_the_build(assembled: Path) -> None:
    """pip and hatchling stay in the first stage; every file has the time that was given."""
    packages = {path.name for path in (assembled / "lib").glob("python*/site-packages/*")}
    times = {path.lstat().st_mtime for path in assembled.rglob("*") if not path.is_symlink()}
    byte_code = [path.read_bytes()[4:8] for path in assembled.rglob("*.pyc")]

    assert not {name for name in packages if name.startswith(("pip", "hatchling", "setuptools"))}
    assert times == {EPOCH}
    assert len(byte_code) > 500
    assert set(byte_code) == {b"\x01\x00\x00\x00"}  # PEP 552: by hash, never checked again


def test_the_bill_of_materials_names_every_package(assembled: Path) -> None:
    """CycloneDX 1.6, made of what was really installed, hashes as pinned, times as given."""
    bill: Json = json.loads((assembled / "share" / "headgate" / "sbom.cdx.json").read_text())
    pinned = (ROOT / "requirements" / "run.txt").read_text()
    wanted = set(re.findall(r"^(\S+)==(\S+)", pinned, re.MULTILINE))
    found = {(each["name"], each["version"]) for each in bill["components"]}
    product = bill["metadata"]["component"]
    references = {product["bom-ref"], *(each["bom-ref"] for each in bill["components"])}

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
    assert bill["metadata"]["timestamp"] == "2025-11-24T16:00:00Z"
    assert product["purl"] == f"pkg:pypi/headgate@{headgate.__version__}"
    assert found <= wanted
    assert {name for name, _ in wanted - found} <= ELSEWHERE
    for each in bill["components"]:
        [digest] = each["hashes"]
        assert f"sha256:{digest['content']}" in pinned
        assert each["licenses"], each["name"]
    assert {each["ref"] for each in bill["dependencies"]} == references
    for each in bill["dependencies"]:
        assert set(each["dependsOn"]) <= references
        assert each["ref"] not in each["dependsOn"]


ELSEWHERE: frozenset[str] = frozenset()
"""Pinned packages that are for other platforms than the one that runs this."""
