"""Dockerfile and deploy/: linters, schemas, and the settings, files, ports and metrics that they name.

The tests need no container engine, so they do not build or run the image.
"""

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import typer.main
import yaml  # type: ignore[import-untyped]
from scripts import hostile_photos

from planespotter_client.commands.main import build_app
from planespotter_models import Label, Level, Prediction
from planespotter_server.observability.metrics import Metrics
from planespotter_server.rpc.status import CODES
from planespotter_server.settings import PREFIX, Settings, load_settings
from planespotter_training.loop import supervisor

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
MANIFESTS = sorted(
    path
    for path in (DEPLOY / "kubernetes").glob("*.yaml")
    if "kind: " in path.read_text() and "kustom" not in path.name
)
SETTINGS = Settings.model_fields
BASE_MIB = 768  # process and network of an idle server, and a reserve for larger networks


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    binaries = Path(sys.executable).parent
    return subprocess.run([binaries / command[0], *command[1:]], capture_output=True, text=True, check=False)


def instructions(name: str) -> list[str]:
    """Return the arguments of each instruction `name` in the Dockerfile, each on one line."""
    lines = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [line.removeprefix(f"{name} ").strip() for line in lines if line.startswith(f"{name} ")]


def check_command(words: list[str]) -> None:
    """Fail unless `planespotter WORDS` is a valid command with valid options."""
    command = typer.main.get_command(build_app()).commands[words[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known, words


def container() -> dict[str, Any]:
    [container] = read("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    return container  # type: ignore[no-any-return]


def environments() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each place that sets environment variables, and its variables for the server."""
    in_image = dict(pair.split("=", 1) for text in instructions("ENV") for pair in shlex.split(text))
    in_compose = read("compose.yaml")["services"]["planespotter"]["environment"]
    in_kubernetes = {variable["name"]: variable["value"] for variable in container()["env"]}
    for where, variables in (("image", {}), ("compose", in_compose), ("kubernetes", in_kubernetes)):
        yield where, {name: value for name, value in {**in_image, **variables}.items() if name.startswith(PREFIX)}


# Linters


def test_dockerfile_passes_hadolint() -> None:
    done = run("hadolint", REPOSITORY / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_yaml_passes_yamllint() -> None:
    done = run("yamllint", "--strict", "--config-file", DEPLOY / ".yamllint.yaml", DEPLOY)
    assert done.returncode == 0, done.stdout


def test_compose_file_follows_the_compose_specification() -> None:
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifest_follows_the_kubernetes_schema_without_unknown_fields(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_schema_validation_detects_a_mistake() -> None:
    wrong = read("kubernetes/deployment.yaml")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_kustomization_lists_every_manifest() -> None:
    listed = read("kubernetes/kustomization.yaml")["resources"]
    assert sorted([*listed, "train.yaml"]) == [path.name for path in MANIFESTS], "training is applied separately"


# The image


def test_image_sources_exist_and_are_not_ignored() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    sources = [word for text in instructions("COPY") if "--from=" not in text for word in text.split()[:-1]]
    assert sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert source in allowed, source
    assert set(sources) == set(allowed), "the build context contains more than is copied"
    assert any(fnmatch.fnmatch("server/planespotter_server/__pycache__", line) for line in ignored)


def test_wheel_sources_are_copied_into_the_image() -> None:
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    copied = {word for text in instructions("COPY") if "--from=" not in text for word in text.split()[:-1]}
    needed = {Path(package).parts[0] for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    assert needed | {project["project"]["readme"], *project["project"]["license-files"]} <= copied
    assert f"ARG VERSION={project['project']['version']}" in DOCKERFILE


def test_image_runs_as_a_numeric_non_root_user() -> None:
    assert instructions("USER") == ["65532:65532"]
    assert container()["securityContext"]["readOnlyRootFilesystem"]
    pod = read("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["runAsUser"] == 65532


def test_commands_in_deployment_files_exist() -> None:
    [start] = [json.loads(text) for text in instructions("CMD") if text.startswith('["serve')]
    [probe] = [json.loads(text.partition("CMD ")[2]) for text in instructions("HEALTHCHECK")] or [
        json.loads(re.findall(r'CMD (\["planespotter".+\])', DOCKERFILE)[0])
    ]
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["planespotter"] == probe[:1]
    compose = read("compose.yaml")["services"]["planespotter"]["command"]
    for words in (start, probe[1:], compose, container()["args"]):
        check_command(words)
    for page in [REPOSITORY / "Dockerfile", *DEPLOY.rglob("*.yaml")]:  # and those in comments
        for text in re.findall(
            r"planespotter,? ((?:serve|health|classify)\b.*?)(?:\]|'|\. |\.?$)", page.read_text(), re.M
        ):
            check_command([word for word in re.split(r"[,\s]+", text.replace('"', "")) if word])


# Settings


@pytest.mark.parametrize(
    ("where", "variables"), list(environments()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_environment_variables_are_valid_settings(
    where: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(model=Path("model"))
    assert (settings.host, settings.port) == ("0.0.0.0", 50051)
    if where != "image":
        assert settings.insecure or settings.tls_cert, "the server would not start"
        assert settings.metrics_port == 9464


def test_compose_server_uses_the_certificate_that_is_created() -> None:
    services = read("compose.yaml")["services"]
    server, [script] = services["planespotter"], services["certificate"]["command"]
    assert server["depends_on"]["certificate"]["condition"] == "service_completed_successfully"
    assert {volume["source"] for volume in services["certificate"]["volumes"]} == {"access"}
    for path in (server["environment"]["PLANESPOTTER_TLS_CERT"], server["environment"]["PLANESPOTTER_TLS_KEY"]):
        assert path in script
    check_command(server["healthcheck"]["test"][2:])
    assert server["environment"]["PLANESPOTTER_TLS_CERT"] in server["healthcheck"]["test"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_certificate_of_compose_is_valid_for_its_clients_and_created_once(tmp_path: Path) -> None:
    [script] = read("compose.yaml")["services"]["certificate"]["command"]
    script = script.replace("/access", str(tmp_path)).replace("chown", "echo")
    subprocess.run(["sh", "-ec", script], check=True, capture_output=True)
    certificate = (tmp_path / "tls.crt").read_bytes()
    shown = subprocess.run(
        ["openssl", "x509", "-in", tmp_path / "tls.crt", "-noout", "-text"], check=True, capture_output=True, text=True
    )
    assert "DNS:localhost, DNS:planespotter, IP Address:127.0.0.1" in shown.stdout
    subprocess.run(["sh", "-ec", script], check=True, capture_output=True)
    assert (tmp_path / "tls.crt").read_bytes() == certificate


def kubernetes_commands() -> list[str]:
    """Return the commands in the comment of kustomization.yaml, each on one line."""
    comment = (DEPLOY / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8").replace("\\\n#", "")
    return re.findall(r"^#   (\w.*)", comment, re.M)


def test_kubernetes_server_uses_the_secret_of_the_documented_command() -> None:
    [create] = [command.split() for command in kubernetes_commands() if command.startswith("kubectl")]
    assert create[:4] == ["kubectl", "create", "secret", "tls"]
    [volume] = [
        volume
        for volume in read("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "tls"
    ]
    [mount] = [mount for mount in container()["volumeMounts"] if mount["name"] == "tls"]
    assert volume["secret"]["secretName"] == create[4]
    variables = dict(environments())["kubernetes"]
    # A secret of this type has the keys tls.crt and tls.key.
    assert variables["PLANESPOTTER_TLS_CERT"] == f"{mount['mountPath']}/tls.crt"
    assert variables["PLANESPOTTER_TLS_KEY"] == f"{mount['mountPath']}/tls.key"
    assert "PLANESPOTTER_INSECURE" not in variables


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_probes_and_clients_of_kubernetes_accept_the_self_signed_certificate(tmp_path: Path, tiny_bundle: Path) -> None:
    [create] = [command for command in kubernetes_commands() if command.startswith("openssl")]
    subprocess.run(shlex.split(create), cwd=tmp_path, check=True, capture_output=True)
    planespotter = [sys.executable, "-m", "planespotter_client.commands.main"]
    serve = [*planespotter, "serve", "--model", str(tiny_bundle), "--port", "0", "--batch-sizes", "1"]
    files = ["--tls-cert", str(tmp_path / "tls.crt"), "--tls-key", str(tmp_path / "tls.key")]
    with subprocess.Popen([*serve, *files], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        for probe in ("startup", "readiness", "liveness"):
            command = container()[f"{probe}Probe"]["exec"]["command"]
            check_command(command[1:])
            words = [word.replace("127.0.0.1:50051", address).replace("/tls/", f"{tmp_path}/") for word in command[1:]]
            assert subprocess.run([*planespotter, *words], check=False).returncode == 0
        server.terminate()


def test_dependencies_are_installed_before_the_sources_are_copied() -> None:
    install = DOCKERFILE.index("pip install --requirement")
    assert all(DOCKERFILE.index(f"COPY {source} ") > install for source in ("models", "server", "client"))
    assert "MALLOC_ARENA_MAX=2" in " ".join(instructions("ENV"))


def test_requirements_that_the_image_installs_first_are_those_of_the_server() -> None:
    [script] = re.findall(r'python -c "(import tomllib.+?)" >', " ".join(instructions("RUN")))
    printed = subprocess.run(
        [sys.executable, "-c", re.sub(r" {2,}", " ", script)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"grpcio>=1.85.1", "structlog>=25"} <= set(printed.stdout.splitlines())


def test_network_policy_covers_the_ports_of_the_pods() -> None:
    policy = read("kubernetes/network-policy.yaml")["spec"]
    deployment = read("kubernetes/deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == deployment
    ports = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert ports == {port["name"] for port in container()["ports"]}
    assert all(rule["from"] for rule in policy["ingress"]), "an empty list would admit everybody"


def test_probes_wait_longer_than_a_busy_server_takes_to_answer() -> None:
    for probe in ("startup", "readiness", "liveness"):
        assert container()[f"{probe}Probe"]["timeoutSeconds"] >= 5


def test_environment_variables_in_comments_are_settings() -> None:
    for page in [REPOSITORY / "Dockerfile", *DEPLOY.rglob("*.yaml")]:
        for name in re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", page.read_text(encoding="utf-8")):
            assert name.removeprefix(PREFIX).lower() in SETTINGS, f"{page.name}: {name}"


def test_ports_are_those_of_the_server() -> None:
    default = SETTINGS["port"].default
    assert instructions("EXPOSE") == [str(default)]
    assert {port["name"]: port["containerPort"] for port in container()["ports"]} == {"grpc": default, "metrics": 9464}
    [port] = read("kubernetes/service.yaml")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (default, "grpc")
    for probe in ("startup", "readiness", "liveness"):
        assert f"127.0.0.1:{default}" in container()[f"{probe}Probe"]["exec"]["command"]
    assert read("compose.yaml")["services"]["planespotter"]["ports"] == [f"127.0.0.1:{default}:{default}"]
    assert read("prometheus.yaml")["scrape_configs"][0]["static_configs"][0]["targets"] == ["planespotter:9464"]
    annotations = read("kubernetes/deployment.yaml")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "9464"


def test_termination_grace_period_exceeds_the_drain_and_no_probe_interrupts_it() -> None:
    variables = {variable["name"]: variable["value"] for variable in container()["env"]}
    grace = float(variables["PLANESPOTTER_GRACE_SECONDS"])
    grace_period = read("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_period >= grace + 5
    assert float(variables["PLANESPOTTER_DRAIN_SECONDS"]) < grace
    liveness = container()["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > grace_period
    in_compose = read("compose.yaml")["services"]["planespotter"]["stop_grace_period"]
    assert int(in_compose.removesuffix("s")) >= SETTINGS["grace_seconds"].default + 5


@pytest.mark.parametrize("where", ["compose", "kubernetes"])
def test_memory_limit_covers_the_network_photos_in_flight_and_decoding(where: str) -> None:
    if where == "compose":
        limit = read("compose.yaml")["services"]["planespotter"]["mem_limit"].removesuffix("m")
    else:
        limit = container()["resources"]["limits"]["memory"].removesuffix("Mi")
    variables = dict(environments())[where]
    threads = int(variables["PLANESPOTTER_DECODE_THREADS"])
    in_flight = int(variables.get("PLANESPOTTER_MAX_IN_FLIGHT_BYTES", SETTINGS["max_in_flight_bytes"].default))
    needed = BASE_MIB + 2 * in_flight / 2**20 + threads * hostile_photos.MAX_BYTES / 2**20
    assert needed <= int(limit) <= 1.25 * needed
    page = (DEPLOY.parent / "docs" / "operating.md").read_text(encoding="utf-8")
    assert f"{BASE_MIB} MiB for the network" in page
    assert f"{hostile_photos.MAX_BYTES >> 20} MiB for each of `decode_threads`" in page


def test_selectors_match_the_pods_and_mounts_have_volumes() -> None:
    deployment = read("kubernetes/deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert read("kubernetes/service.yaml")["spec"]["selector"] == labels
    assert read("kubernetes/disruption-budget.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert read("kubernetes/autoscaler.yaml")["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    volumes = {volume["name"] for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container()["volumeMounts"]} == volumes
    assert "/models" in {mount["mountPath"] for mount in container()["volumeMounts"]}


# Metrics


def exposed() -> dict[str, set[str]]:
    """Return the labels of every time series that the server exposes, by name."""
    metrics = Metrics()
    metrics.add_gauges(lambda: 0, lambda: 0)
    metrics.set_certificate_expiry(datetime(2030, 1, 1, tzinfo=UTC))
    series: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        for suffix in suffixes:
            series[family.name + suffix] = {"le"} if suffix == "_bucket" else set()
    for name in list(series):
        if name.startswith("process_"):
            del series[name]
        elif name.startswith("grpc_server"):
            series[name] |= {"grpc_type", "grpc_service", "grpc_method"}
    series["grpc_server_handled_total"] |= {"grpc_code"}
    series["planespotter_photos_total"] |= {"outcome", "reason"}
    series["planespotter_predictions_total"] |= {"constructor", "level"}
    return series


def test_assumed_labels_are_those_of_the_server() -> None:
    metrics = Metrics()
    metrics.start_rpc("/planespotter.v1.ClassifierService/Classify")
    metrics.end_rpc("/planespotter.v1.ClassifierService/Classify", "OK", 0.1)
    metrics.start_photo().rejected("QUEUE_FULL")
    metrics.start_photo().predicted(Prediction(Level.FAMILY, Label("Boeing", "747", ""), (0.9, 0.9, 0.0)))
    metrics.add_gauges(lambda: 0, lambda: 0)
    metrics.set_certificate_expiry(datetime(2030, 1, 1, tzinfo=UTC))
    seen = {
        sample.name: set(sample.labels) - {"le"}
        for family in metrics.registry.collect()
        for sample in family.samples
        if not sample.name.startswith("process_")
    }
    assert seen == {name: labels - {"le"} for name, labels in exposed().items()}
    assert metrics.registry.get_sample_value(
        "planespotter_photos_total", {"outcome": "rejected", "reason": "QUEUE_FULL"}
    )


# Of Prometheus, its client for Python, its black-box exporter, and kube-state-metrics.
OTHER_SERIES = {
    "up",
    "process_start_time_seconds",
    "probe_success",
    "kube_pod_container_status_last_terminated_exitcode",
    "kube_pod_container_status_restarts_total",
}


def check_query(query: str) -> None:
    """Fail unless the time series and labels of a PromQL expression exist."""
    series = exposed()
    query = re.sub(r'"planespotter[\w-]*"', '""', query)  # jobs and containers
    names = set(re.findall(r"(?:planespotter|grpc_server)_\w+", query))
    foreign_names = set(re.findall(r"\b(?:process|probe|kube)_\w+|\bup\b", query))
    assert names | foreign_names, query
    assert names <= set(series), f"{names - set(series)} in {query}"
    assert foreign_names <= OTHER_SERIES, f"{foreign_names - OTHER_SERIES} in {query}"
    labels = set().union(*(series[name] for name in names)) | {"job", "instance", "namespace", "pod", "container"}
    grouped = {
        word.strip() for group in re.findall(r"(?:by|ignoring) \(([\w, ]+)\)", query) for word in group.split(",")
    }
    assert grouped <= labels, f"{grouped - labels} in {query}"
    matched = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!=|=|!~)", query))
    assert matched <= labels, f"{matched - labels} in {query}"
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing), query


def test_autoscaler_metric_is_derived_from_metrics_of_the_server() -> None:
    [rule] = read("kubernetes/prometheus-adapter-values.yaml")["rules"]["custom"]
    wanted = [
        metric["pods"]["metric"]["name"]
        for metric in read("kubernetes/autoscaler.yaml")["spec"]["metrics"]
        if "pods" in metric
    ]
    assert wanted == [rule["name"]["as"]] == ["planespotter_queue_wait_seconds"]
    check_query(rule["seriesQuery"])
    check_query(rule["metricsQuery"].replace("<<.LabelMatchers>>", "").replace("<<.GroupBy>>", "pod"))


def test_scaled_object_follows_its_schema() -> None:
    schema = Path(__file__).with_name("scaled_object.schema.json")
    done = run("check-jsonschema", "--schemafile", schema, DEPLOY / "kubernetes" / "keda" / "scaled-object.yaml")
    assert done.returncode == 0, done.stdout


def test_scaled_object_replaces_the_autoscaler_and_queries_metrics_of_the_server() -> None:
    scaled, autoscaler = read("kubernetes/keda/scaled-object.yaml")["spec"], read("kubernetes/autoscaler.yaml")
    overlay = read("kubernetes/keda/kustomization.yaml")
    assert overlay["resources"] == ["..", "scaled-object.yaml"]
    [patch] = [yaml.safe_load(patch["patch"]) for patch in overlay["patches"]]
    assert patch.pop("$patch") == "delete"
    assert patch == {name: autoscaler[name] for name in ("apiVersion", "kind", "metadata")}
    assert scaled["scaleTargetRef"]["name"] == autoscaler["spec"]["scaleTargetRef"]["name"]
    assert scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == autoscaler["spec"]["behavior"]
    bounds = (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"])
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == bounds
    queue_wait, streams, cpu = scaled["triggers"]
    for trigger in (queue_wait, streams):
        check_query(trigger["metadata"]["query"])
    assert "planespotter_queue_wait_seconds_sum" in queue_wait["metadata"]["query"]
    assert float(streams["metadata"]["threshold"]) < SETTINGS["max_streams"].default / 2
    [utilization] = [
        metric["resource"]["target"]["averageUtilization"]
        for metric in autoscaler["spec"]["metrics"]
        if "resource" in metric
    ]
    assert int(cpu["metadata"]["value"]) == utilization


def test_streams_of_pods_rebalance() -> None:
    variables = dict(environments())["kubernetes"]
    assert float(variables["PLANESPOTTER_MAX_STREAM_AGE"]) > 0
    [spread] = read("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == {"app.kubernetes.io/name": "planespotter"}
    assert read("kubernetes/disruption-budget.yaml")["spec"]["maxUnavailable"] == 1


# Training


def test_pods_of_a_training_find_one_another_and_restart_together(monkeypatch: pytest.MonkeyPatch) -> None:
    service, job = yaml.safe_load_all((DEPLOY / "kubernetes" / "train.yaml").read_text(encoding="utf-8"))
    spec = job["spec"]
    pod = spec["template"]
    [train] = pod["spec"]["containers"]
    check_command(train["args"])
    variables = {variable["name"]: variable for variable in train["env"]}
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES"):
        monkeypatch.setenv(name, variables[name]["value"])
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    group = supervisor.read_environment()
    assert group is not None
    assert group.count == spec["completions"] == spec["parallelism"] > 1
    # Each pod of an Indexed Job has the name JOB-INDEX, below the subdomain of its headless service.
    [port] = train["ports"]
    assert group.coordinator == f"{job['metadata']['name']}-0.{pod['spec']['subdomain']}:{port['containerPort']}"
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] in (None, "None"), "it is headless"
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert spec["completionMode"] == "Indexed"
    assert "job-completion-index" in variables["JAX_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert {mount["name"] for mount in train["volumeMounts"]} == {volume["name"] for volume in pod["spec"]["volumes"]}


def test_a_training_is_restarted_unless_its_error_would_repeat() -> None:
    _, job = yaml.safe_load_all((DEPLOY / "kubernetes" / "train.yaml").read_text(encoding="utf-8"))
    [fatal] = [rule for rule in job["spec"]["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
    assert supervisor.EXIT_RESTART not in fatal["onExitCodes"]["values"]
    assert set(fatal["onExitCodes"]["values"]) == {1, 2}
    assert job["spec"]["podReplacementPolicy"] == "Failed"
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= supervisor.STOP_SECONDS + 10


def test_alerts_use_existing_metrics_and_reasons_and_are_documented() -> None:
    assert read("prometheus.yaml")["rule_files"] == ["alerts.yaml"]
    page = (DEPLOY.parent / "docs" / "operating.md").read_text(encoding="utf-8")
    [group] = read("alerts.yaml")["groups"]
    assert group["rules"]
    for rule in group["rules"]:
        check_query(rule["expr"])
        for reasons in re.findall(r"reason=~?\"([A-Z_|]+)\"", rule["expr"]):
            assert set(reasons.split("|")) <= set(CODES)
        assert f"`{rule['alert']}`" in page


def dashboard() -> dict[str, Any]:
    return json.loads((DEPLOY / "grafana" / "planespotter.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_dashboard_panels_query_existing_metrics_and_cover_all() -> None:
    queries = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    assert len(queries) > 10
    for query in queries:
        check_query(query.replace("$__rate_interval", "1m"))
    shown = {name for query in queries for name in re.findall(r"(?:planespotter|grpc_server)_[a-z_]+", query)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert families == {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed()}, "the dashboard lacks a metric"
    assert Level.MODEL.value in json.dumps(dashboard())


def test_dashboard_panels_do_not_overlap_and_use_the_selected_data_source() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"]


# Ray

# The fields of ray.io/v1 that the job uses: its schema is not among those of kubernetes-validate.
RAY_JOB_FIELDS = {
    "entrypoint",
    "submissionMode",
    "backoffLimit",
    "shutdownAfterJobFinishes",
    "ttlSecondsAfterFinished",
    "rayClusterSpec",
}


def ray_pods() -> Iterator[dict[str, Any]]:
    """Yield the pod templates of the Ray cluster: the head, then the workers."""
    cluster = read("ray/rayjob.yaml")["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]


def test_ray_job_has_known_fields_and_pods_that_follow_the_kubernetes_schema() -> None:
    job = read("ray/rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"].keys() <= RAY_JOB_FIELDS
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster.keys() == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert cluster["headGroupSpec"].keys() == {"rayStartParams", "template"}
    for group in cluster["workerGroupSpecs"]:
        assert group.keys() == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for pod in ray_pods():
        manifest = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "ray"}, "template": pod}
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_ray_job_runs_a_valid_command_with_a_worker_per_core() -> None:
    job = read("ray/rayjob.yaml")["spec"]
    words = job["entrypoint"].split()
    assert words[:3] == ["planespotter", "bulk", "run"]
    command = typer.main.get_command(build_app()).commands["bulk"].commands["run"]  # type: ignore[attr-defined]
    command.make_context("run", words[3:])
    [workers] = job["rayClusterSpec"]["workerGroupSpecs"]
    cores = int(workers["rayStartParams"]["num-cpus"])
    [ray] = workers["template"]["spec"]["containers"]
    assert ray["resources"]["requests"]["cpu"] == str(cores)
    assert int(words[words.index("--workers") + 1]) == cores * workers["maxReplicas"]
    assert job["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_ray_cluster_has_the_pinned_version_a_token_and_no_usage_statistics() -> None:
    pinned = re.findall(r"^ray==(.+)$", (REPOSITORY / "constraints.txt").read_text(encoding="utf-8"), re.M)
    image = (DEPLOY / "ray" / "Dockerfile").read_text(encoding="utf-8")
    assert [read("ray/rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"]] == pinned
    assert set(re.findall(r"(?:RAY=)([\d.]+)-py", image)) == set(pinned)
    for pod in ray_pods():
        [ray] = pod["spec"]["containers"]
        variables = {variable["name"]: variable for variable in ray["env"]}
        assert variables["RAY_USAGE_STATS_ENABLED"]["value"] == "0"
        assert variables["RAY_AUTH_MODE"]["value"] == "token"
        assert (
            variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["name"]
            in (DEPLOY / "ray" / "rayjob.yaml").read_text(encoding="utf-8").partition("apiVersion")[0]
        )


def test_ray_image_copies_all_sources_and_passes_hadolint() -> None:
    path = DEPLOY / "ray" / "Dockerfile"
    done = run("hadolint", path)
    assert done.returncode == 0, done.stdout
    copied = set(re.findall(r"^COPY (\w+) \1$", path.read_text(encoding="utf-8"), re.M))
    assert copied == {text.split()[0] for text in instructions("COPY") if re.fullmatch(r"(\w+) \1", text)}
