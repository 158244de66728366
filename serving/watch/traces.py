"""OpenTelemetry traces of requests, where OTEL_EXPORTER_OTLP_ENDPOINT names a collector; else nothing is traced.

The SDK reads its other standard variables itself (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER,
OTEL_BSP_*). Spans are exported from a thread of the SDK's, as OTLP over HTTP in JSON; a collector that is not there
costs no request anything. They name tasks and versions, and nothing that was said.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import httpx
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hotline.settings import Collector

log = logging.getLogger("ray.serve")

EXPORT_SECONDS = 10.0
Span = Any
Attributes = Mapping[str, str | int | float]


class Traces:
    """Spans of one process; `collector` None: none."""

    def __init__(self, collector: Collector | None) -> None:
        self._provider = None
        if collector:
            self._provider = TracerProvider(shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(OtlpJson(collector)))
            self._tracer = self._provider.get_tracer("hotline")

    @property
    def on(self) -> bool:
        return self._provider is not None

    def request(self, headers: Mapping[str, str]) -> AbstractContextManager[Span]:
        """The span of a request, within its caller's trace where the caller sends `traceparent`."""
        if not self.on:
            return nullcontext()
        outer: Context = TraceContextTextMapPropagator().extract(dict(headers))
        return self._tracer.start_as_current_span("request", outer, SpanKind.SERVER, record_exception=False)

    def asking(self, attributes: Attributes) -> AbstractContextManager[Span]:
        """The span of one input at a version, within the request's."""
        if not self.on:
            return nullcontext()
        return self._tracer.start_as_current_span(
            "answer", kind=SpanKind.CLIENT, attributes=dict(attributes), record_exception=False
        )

    def close(self) -> None:
        """Export what is left."""
        if self._provider:
            self._provider.shutdown()


class OtlpJson(SpanExporter):
    """OTLP/HTTP with JSON, as https://opentelemetry.io/docs/specs/otlp/#otlphttp says."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._client = httpx.Client(timeout=EXPORT_SECONDS, headers=dict(collector.headers))
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Post the spans; the first failure of a row is logged."""
        try:
            self._client.post(self._collector.url, json=body(spans)).raise_for_status()
        except httpx.HTTPError as error:
            if not self._failing:
                log.warning("traces are not taken: %s", type(error).__name__)
            self._failing = True
            return SpanExportResult.FAILURE
        self._failing = False
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._client.close()


def body(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """The spans of one process as an ExportTraceServiceRequest."""
    resource = spans[0].resource.attributes if spans else {}
    listed = [{"scope": {"name": "hotline"}, "spans": [_span(each) for each in spans]}]
    return {"resourceSpans": [{"resource": {"attributes": _values(resource)}, "scopeSpans": listed}]}


def _span(span: ReadableSpan) -> dict[str, Any]:
    context, status = span.get_span_context(), {"code": span.status.status_code.value}
    assert context
    return {
        "traceId": f"{context.trace_id:032x}",
        "spanId": f"{context.span_id:016x}",
        "parentSpanId": f"{span.parent.span_id:016x}" if span.parent else "",
        "name": span.name,
        "kind": span.kind.value + 1,  # the protocol counts from 1, the SDK from 0
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _values(span.attributes or {}),
        "status": status,
    }


def _values(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}
