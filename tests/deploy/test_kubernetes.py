"""deploy/kubernetes: every manifest against the schemas of Kubernetes, and the names that hold them together.

No package brings KubeRay's schema: of a RayCluster, the pods that it describes are checked as pods.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from falcon_mnist.settings import settings_table, variable

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
DOCUMENTS: list[dict[str, Any]] = [
    document
    for file in sorted(FOLDER.glob("*.yaml"))
    if file.name != "kustomization.yaml"
    for document in yaml.safe_load_all(file.read_text())
]


def named(kind: str, name: str = "falcon-mnist") -> dict[str, Any]:
    (found,) = [each for each in DOCUMENTS if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def ray_groups() -> list[dict[str, Any]]:
    spec = named("RayCluster")["spec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def pods() -> Iterator[dict[str, Any]]:
    for group in (named("Deployment")["spec"], *ray_groups()):
        template = group["template"]
        yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"} | template["metadata"]} | {
            "spec": template["spec"]
        }


def validate(document: dict[str, Any]) -> None:
    import kubernetes_validate  # takes long: not in each process that collects tests

    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize(
    "document",
    [*(each for each in DOCUMENTS if each["kind"] != "RayCluster"), *pods()],
    ids=lambda each: f"{each['kind']} {each['metadata']['name']}",
)
def test_a_manifest_is_as_its_schema_says(document: dict[str, Any]) -> None:
    validate(document)


def test_a_manifest_that_is_not_is_refused() -> None:
    from kubernetes_validate import ValidationError

    with pytest.raises(ValidationError):
        validate(named("Service") | {"spec": {"ports": "80"}})


def test_every_file_is_applied_but_the_example_of_secrets() -> None:
    applied = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert {*applied, "kustomization.yaml", "secrets.example.yaml"} == {file.name for file in FOLDER.glob("*.yaml")}


def test_what_pods_refer_to_is_there() -> None:
    for pod in pods():
        for container in pod["spec"]["containers"]:
            for source in container.get("envFrom", []):
                ((key, reference),) = source.items()
                assert named({"configMapRef": "ConfigMap", "secretRef": "Secret"}[key], reference["name"])
            volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_settings_are_those_of_the_service() -> None:
    given = {*named("ConfigMap")["data"], *named("Secret")["stringData"]}
    assert given - {"RAY_ADDRESS"} <= {variable(name) for name in settings_table()}


def test_selectors_find_the_pods() -> None:
    labels = [pod["metadata"]["labels"] for pod in pods()]
    for kind in ("Deployment", "Service", "PodDisruptionBudget"):
        selector = named(kind)["spec"]["selector"]
        assert selector.get("matchLabels", selector) == labels[0]
    for policy in ("falcon-mnist-api", "falcon-mnist-ray"):
        assert named("NetworkPolicy", policy)["spec"]["podSelector"]["matchLabels"] in labels


def test_servers_find_the_head_of_the_cluster() -> None:
    address = named("ConfigMap")["data"]["RAY_ADDRESS"]
    assert address == f"ray://{named('RayCluster')['metadata']['name']}-head-svc:10001"


def test_a_node_offers_as_many_cpus_as_it_requests() -> None:
    for group in ray_groups()[1:]:
        (container,) = group["template"]["spec"]["containers"]
        assert group["rayStartParams"]["num-cpus"] == container["resources"]["requests"]["cpu"]


def test_a_pod_may_end_in_the_time_that_a_server_takes() -> None:
    spec = named("Deployment")["spec"]["template"]["spec"]
    pause = int(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] >= pause + 15
