"""`/health`, `/ready`, `/metrics`: for whoever watches the server."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from kinema.serve.api_videos import ApiIs
from kinema.serve.metrics import metrics_text, num_workers

router = APIRouter(tags=["health"])


@router.get("/health")
def health() -> dict[str, str]:
    """Say that the process is there."""
    return {"status": "ok"}


@router.get("/ready")
def ready(api: ApiIs) -> Response:
    """Say whether a worker with loaded weights is there to make videos."""
    count = num_workers(api.store, api.jobs)
    return JSONResponse({"status": "ready" if count else "no worker", "workers": count}, 200 if count else 503)


@router.get("/metrics")
def metrics(api: ApiIs) -> Response:
    """Tell the figures of the queue, in the text format of Prometheus."""
    text = metrics_text(api.store, api.jobs, api.tally)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")
