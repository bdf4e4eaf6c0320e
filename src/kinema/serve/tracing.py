"""Traces of requests and jobs, for OpenTelemetry, when it is configured; otherwise nothing.

A job carries the trace of the request that ordered it, so the worker's part, on whatever machine, belongs to it.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from kinema.errors import SpecError, how_to_install

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class _Tracing:
    """The tracer, once there is one."""

    tracer: Any = None
    context: Any = None


def install_tracing(service: str, exporter: Any = None) -> None:
    """Send traces to where OpenTelemetry's own variables say (`OTEL_EXPORTER_OTLP_ENDPOINT`), or to an exporter.

    Without either nothing is traced. Raises SpecError when it is asked for and not installed.
    """
    if exporter is None and not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            processor: Any = BatchSpanProcessor(OTLPSpanExporter())
        else:
            processor = SimpleSpanProcessor(exporter)
    except ImportError as error:
        raise SpecError(f"{_ENDPOINTS[0]} is set, but {error.name} is missing: {how_to_install('otel')}") from None
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(processor)
    _Tracing.tracer, _Tracing.context = provider.get_tracer("kinema"), TraceContextTextMapPropagator()


def stop_tracing() -> None:
    """Trace no more."""
    _Tracing.tracer = _Tracing.context = None


@contextlib.contextmanager
def span(name: str, parent: str | None = None, **attributes: str | int) -> Iterator[None]:
    """Trace what happens inside, as part of the trace that `parent`, a W3C traceparent, belongs to."""
    if _Tracing.tracer is None:
        yield
        return
    inside = _Tracing.context.extract({"traceparent": parent}) if parent else None
    with _Tracing.tracer.start_as_current_span(name, context=inside, attributes=attributes):
        yield


def current_traceparent() -> str | None:
    """The W3C traceparent of what is being traced now."""
    if _Tracing.tracer is None:
        return None
    carrier: dict[str, str] = {}
    _Tracing.context.inject(carrier)
    return carrier.get("traceparent")
