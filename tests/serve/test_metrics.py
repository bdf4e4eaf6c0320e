import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.serve.doubles import Place

from kinema.errors import SpecError
from kinema.log import configure, write_json
from kinema.serve.job import Artefact, NewJob, Result
from kinema.serve.jobs import Jobs
from kinema.serve.leases import Leases
from kinema.serve.metrics import metrics_text
from kinema.serve.store import Store
from kinema.serve.tally import Tally
from kinema.serve.tracing import current_traceparent, install_tracing, span, stop_tracing
from kinema.spec import VideoSpec

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana.json"


def _read(text: str) -> dict[str, float]:
    """Prometheus' text format, by name with labels; every line must be one."""
    values = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) [a-z_]+ .+", line), line
            continue
        found = re.fullmatch(r'([a-z_]+(?:\{(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)+\})?) ([-+.e0-9]+)', line)
        assert found, line
        values[found[1]] = float(found[2])
    return values


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _finish(store: Store, clock: Clock) -> None:
    jobs, worker = Jobs(store, clock=clock), Leases(store, "a", clock=clock)
    artefact = Artefact(name="a", num_bytes=10, media_type="video/mp4")
    for seconds in (5.0, 7.0):
        jobs.submit(NewJob(spec=VideoSpec(prompt="x")))
        clock.now += 3
        job = worker.claim(["mini"])
        assert job is not None
        clock.now += seconds
        stages = {"text": 1.0, "denoise": seconds - 1}
        done = VideoSpec(prompt="x", steps=4)
        result = Result(artefacts={"video": artefact}, spec=done, seconds=2.0, stage_s=stages, peak_memory_mb=seconds)
        worker.publish(job, result)
    stopped = jobs.submit(NewJob(spec=VideoSpec(prompt="x")))[0]
    job = worker.claim(["mini"])
    assert job is not None
    jobs.cancel(stopped.id)
    clock.now += 0.5
    jobs.cancel(stopped.id)  # asking again does not begin again
    worker.cancelled(job)


def test_figures_of_finished_jobs_stay_when_the_jobs_have_gone(store: Store) -> None:
    clock = Clock()
    _finish(store, clock)
    with store.write() as db:
        db.exec_driver_sql("DELETE FROM jobs")
    shown = _read(metrics_text(store, Jobs(store, clock=clock), Tally()))
    assert shown['kinema_job_wait_seconds_sum{model="mini"}'] == 6
    assert shown['kinema_generation_seconds_sum{model="mini"}'] == 12
    assert shown['kinema_generation_seconds_count{model="mini"}'] == 2
    assert shown['kinema_stage_seconds_sum{stage="denoise"}'] == 10
    assert shown['kinema_denoise_step_seconds_sum{model="mini"}'] == pytest.approx(2.5)
    assert shown['kinema_video_seconds_sum{model="mini"}'] == 4
    assert shown['kinema_memory_peak_bytes{model="mini"}'] == 7 * 2**20
    assert (shown["kinema_cancel_latency_seconds_count"], shown["kinema_cancel_latency_seconds_sum"]) == (1, 0.5)


def test_requests_and_prompts_are_counted(place: Place) -> None:
    place.client.videos.create(prompt="a red ball")
    with pytest.raises(openai.BadRequestError):
        place.client.videos.create(prompt="p0rn")
    place.http.get("/v1/videos/video_1")
    place.http.request("PATCH", "/tea")
    shown = _read(place.http.get("/metrics").text)
    assert shown['kinema_moderation_total{decision="allowed"}'] == 1
    assert shown['kinema_moderation_total{decision="blocked"}'] == 1
    counts = {key: value for key, value in shown.items() if key.startswith("kinema_http_request_seconds_count")}
    name = "kinema_http_request_seconds_count"
    assert counts[name + '{method="POST",route="/v1/videos",status="200"}'] == 1
    assert counts[name + '{method="POST",route="/v1/videos",status="400"}'] == 1
    assert counts[name + '{method="GET",route="/v1/videos/{video_id}",status="404"}'] == 1
    assert counts[name + '{method="other",route="none",status="404"}'] == 1


def test_buckets_add_up_and_labels_are_escaped() -> None:
    tally = Tally()
    for seconds in (0.001, 0.02, 0.02, 99.0):
        tally.observe("t", seconds, path='a"b\\c\nd')
    label = 'path="a\\"b\\\\c\\nd"'
    lines = tally.lines({"t": "times"})
    assert f't_bucket{{{label},le="0.005"}} 1' in lines
    assert f't_bucket{{{label},le="0.025"}} 3' in lines
    assert f't_bucket{{{label},le="60.0"}} 3' in lines
    assert f't_bucket{{{label},le="+Inf"}} 4' in lines
    assert f"t_count{{{label}}} 4" in lines


def test_the_dashboard_shows_metrics_that_there_are(place: Place) -> None:
    place.double.stop()
    _finish(place.running.store, Clock())
    place.client.videos.create(prompt="a red ball")
    known = {line.split(" ")[2] for line in place.http.get("/metrics").text.splitlines() if line.startswith("# TYPE")}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    wanted = {
        re.sub("_(sum|count|bucket)$", "", name)
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"kinema_[a-z_]+", target["expr"])
    }
    assert wanted <= known, wanted - known
    assert len(panels) == len({panel["id"] for panel in panels})


@pytest.fixture
def logs_as_json(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    configure()
    write_json()
    yield
    configure()


def test_every_request_is_a_line_of_json_with_its_id(
    place: Place, logs_as_json: None, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = place.http.get("/v1/videos/video_1")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    line = next(line for line in lines if line.get("path") == "/v1/videos/video_1")
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["status"], line["level"]) == ("GET", 404, "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_exceptions_stay_on_their_line(logs_as_json: None, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("kinema.x").exception("it went wrong")
    (line,) = capsys.readouterr().err.splitlines()
    assert "two\nlines" in json.loads(line)["exception"]


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    install_tracing("test", exporter)
    yield exporter
    stop_tracing()


def test_a_job_belongs_to_the_trace_of_its_request(place: Place, spans: InMemorySpanExporter) -> None:
    place.double.on.clear()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    made = place.http.post("/v1/videos", json={"prompt": "x"}, headers={"traceparent": parent}).json()
    assert "traceparent" not in made
    carried = place.jobs.get(made["id"]).request["traceparent"]
    with span("generate_video", carried, **{"kinema.job.id": made["id"]}):
        pass
    request, job = spans.get_finished_spans()
    assert f"{request.context.trace_id:032x}" == f"{job.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert job.parent is not None
    assert job.parent.span_id == request.context.span_id
    assert (job.attributes or {})["kinema.job.id"] == made["id"]


def test_without_configuration_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    install_tracing("test")
    with span("x"):
        assert current_traceparent() is None


def test_tracing_that_is_wanted_but_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SpecError, match=r"pip install .*\[otel\]"):
        install_tracing("test")
