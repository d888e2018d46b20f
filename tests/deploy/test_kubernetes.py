"""The manifests: valid by Kubernetes' own schemas, true to the image, and their hook is run."""

from __future__ import annotations

import sys
import tomllib
from asyncio import create_subprocess_exec
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from sidecar.config import load_table
from tests.acceptance.process import SidecarProcess
from tests.deploy.fronts import DEPLOY, replaced
from tests.deploy.shipped import TOKEN

SCHEMAS: Final = ("1.33", "1.37")
FOLDER: Final = DEPLOY / "kubernetes"
PODS: Final = ("statefulset.yaml", "deployment.yaml")
IMAGE_CONFIG: Final = (DEPLOY / "docker" / "sidecar.toml").read_text(encoding="utf-8")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [
        document
        for document in documents("common.yaml")
        if (document["kind"], document["metadata"]["name"]) == (kind, name)
    ]
    return found


def pod(name: str) -> dict[str, Any]:
    (workload,) = documents(name)
    assert workload["spec"]["template"]["metadata"]["labels"] == workload["spec"]["selector"]["matchLabels"]
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def sidecar(name: str) -> dict[str, Any]:
    (found,) = pod(name)["initContainers"]
    assert isinstance(found, dict)
    return found


def backend(name: str) -> dict[str, Any]:
    (found,) = pod(name)["containers"]
    assert isinstance(found, dict)
    return found


SETTINGS: Final = load_table(tomllib.loads(IMAGE_CONFIG), {"CONSOLE_TOKEN": TOKEN})


@pytest.mark.parametrize("version", SCHEMAS)
@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_kubernetes_knows_every_word(file: Path, version: str) -> None:
    for document in documents(file.name):
        kubernetes_validate.validate(document, version, strict=True)


def test_a_word_that_it_does_not_know_is_found() -> None:
    (workload,) = documents(PODS[0])
    workload["spec"]["template"]["spec"]["initContainers"][0]["restartPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(workload, SCHEMAS[0], strict=True)


def test_the_configuration_is_the_image_s() -> None:
    assert one("ConfigMap", "chat-sidecar")["data"]["sidecar.toml"] == IMAGE_CONFIG


def test_every_variable_of_the_configuration_is_in_the_secret() -> None:
    with pytest.raises(Exception, match="CONSOLE_TOKEN"):
        load_table(tomllib.loads(IMAGE_CONFIG), {})
    load_table(tomllib.loads(IMAGE_CONFIG), one("Secret", "chat-sidecar")["stringData"])


def test_both_differ_in_the_journal_s_place_alone() -> None:
    with_claim, without = (dict(pod(name)) for name in PODS)
    (journal,) = [volume for volume in without["volumes"] if volume not in with_claim["volumes"]]
    assert journal == {"name": "journal", "emptyDir": {"sizeLimit": "1Gi"}}
    without["volumes"] = [volume for volume in without["volumes"] if volume is not journal]
    assert with_claim == without
    (claim,) = documents(PODS[0])[0]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "journal"


@pytest.mark.parametrize("name", PODS)
def test_it_is_a_native_sidecar_of_the_image(name: str) -> None:
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert sidecar(name)["restartPolicy"] == "Always"
    assert sidecar(name)["image"].endswith(f"/cancel-sidecar:{version}")
    mounts = {mount["mountPath"]: mount["name"] for mount in sidecar(name)["volumeMounts"]}
    assert mounts == {"/etc/cancel-sidecar": "config", str(Path(SETTINGS.journal.path).parent): "journal"}


@pytest.mark.parametrize("name", PODS)
def test_ports_and_probes_are_where_the_configuration_listens(name: str) -> None:
    ports = {port["name"]: f"0.0.0.0:{port['containerPort']}" for port in sidecar(name)["ports"]}
    assert ports == {"http": SETTINGS.listen.address, "console": SETTINGS.console.address}
    probes = {kind: sidecar(name)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in probes.values()} == {"console"}
    assert probes["startup"]["path"] == "/healthz", "the backend starts behind it, so it cannot ask for the backend"
    assert (probes["liveness"]["path"], probes["readiness"]["path"]) == ("/healthz", "/readyz")
    assert one("Service", "chat")["spec"]["ports"][0]["targetPort"] == "http"
    allowed = [rule["ports"][0]["port"] for rule in one("NetworkPolicy", "chat")["spec"]["ingress"]]
    assert allowed == ["http", "console"]


@pytest.mark.parametrize("name", PODS)
def test_it_may_do_nothing_that_it_need_not(name: str) -> None:
    assert pod(name)["securityContext"]["runAsNonRoot"] is True
    assert pod(name)["securityContext"]["runAsUser"] == pod(name)["securityContext"]["fsGroup"] == 10001
    for container in (sidecar(name), backend(name)):
        fence = container["securityContext"]
        assert (fence["readOnlyRootFilesystem"], fence["allowPrivilegeEscalation"]) == (True, False)
        assert fence["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", PODS)
def test_the_backend_outlasts_the_sidecar_s_last_calls(name: str) -> None:
    waiting_s = 5
    command = sidecar(name)["lifecycle"]["preStop"]["exec"]["command"]
    assert f"time.sleep({waiting_s})" in command[-1]
    patience_s = backend(name)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert waiting_s + SETTINGS.listen.shutdown_grace_s + SETTINGS.admin.timeout_s <= patience_s
    assert patience_s < pod(name)["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", PODS)
async def test_its_hook_has_the_sidecar_stop_in_order(name: str, tmp_path: Path) -> None:
    process = SidecarProcess(tmp_path, "http://127.0.0.1:9")
    await process.start()
    _, option, script = sidecar(name)["lifecycle"]["preStop"]["exec"]["command"]
    hook = replaced(script, {"os.kill(1, ": f"os.kill({process.pid}, ", "time.sleep(5)": "time.sleep(0)"})
    hooked = await create_subprocess_exec(sys.executable, option, hook)
    assert await hooked.wait() == 0
    assert await process.wait() == 0
