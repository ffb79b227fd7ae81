/**
 * A collector of what Deno exports by OpenTelemetry, as OTLP/JSON.
 *
 * @module
 */

/** A value of OTLP/JSON. */
interface Value {
  stringValue?: string;
  intValue?: string;
  doubleValue?: number;
}

/** What has attributes. */
export interface Attributed {
  attributes: { key: string; value: Value }[];
}

interface Span extends Attributed {
  /** OTEL_SERVICE_NAME of its process. */
  service: string;
  name: string;
  kind: number;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  status: { code: number };
}

interface LogRecord extends Attributed {
  severityText: string;
  body: Value;
  traceId: string;
}

/** A collector of OpenTelemetry that keeps what it gets. */
export interface Collector extends AsyncDisposable {
  url: string;
  spans: Span[];
  logs: LogRecord[];
  /** Bodies of all requests. */
  texts: string[];
}

/** Starts a collector on a free port. */
export function collector(): Collector {
  const spans: Span[] = [], logs: LogRecord[] = [], texts: string[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      const text = await request.text();
      texts.push(text);
      const body = JSON.parse(text);
      for (const { resource, scopeSpans } of body.resourceSpans ?? []) {
        const service = serviceOf(resource);
        for (const scope of scopeSpans) {
          for (const span of scope.spans) spans.push({ service, ...span });
        }
      }
      for (const { scopeLogs } of body.resourceLogs ?? []) {
        for (const scope of scopeLogs) logs.push(...scope.logRecords);
      }
      return Response.json({});
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    spans,
    logs,
    texts,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

function serviceOf({ attributes }: Attributed): string {
  const found = attributes.find(({ key }) => key === "service.name");
  return found?.value.stringValue ?? "";
}

/** Variables of a process that exports to a collector. */
export function exportsTo(
  endpoint: string,
  service: string,
): Record<string, string> {
  return {
    OTEL_DENO: "true",
    OTEL_SERVICE_NAME: service,
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
  };
}
