/**
 * Spans of requests and jobs, which Deno exports by OpenTelemetry if
 * OTEL_DENO=true.
 *
 * Deno makes a span for each request that it answers or sends, with its query
 * and without its route. Those spans are completed here: others beside them
 * would show every request twice, and leave the queries in.
 *
 * @module
 */
import type { Span } from "@opentelemetry/api";
import type { ServerResponse } from "node:http";
import type { Job } from "./jobs/store.ts";
import { withoutQueries } from "./redaction.ts";

/** True if Deno exports spans, metrics or the log. */
export const isExporting = Symbol.for("opentelemetry.js.api.1") in globalThis;

const api = isExporting ? await import("@opentelemetry/api") : undefined;

let areQueriesHidden = false;

/**
 * Keeps queries, which may hold signatures, out of all spans that this thread
 * makes from now on.
 */
export function hideQueries(): void {
  if (!api || areQueriesHidden) return;
  areQueriesHidden = true;
  const example = api.trace.getTracer("zoomin").startSpan("not exported");
  const spans: Span = Object.getPrototypeOf(example);
  const { setAttribute, setStatus } = spans;
  spans.setAttribute = function (key, value) {
    if (key === "url.query") return this;
    const shown = key === "url.full"
      ? String(value).split("?")[0]!
      : typeof value === "string" // an error's message may name a URL
      ? withoutQueries(value)
      : value;
    return setAttribute.call(this, key, shown);
  };
  spans.setStatus = function ({ code, message }) {
    return setStatus.call(this, {
      code,
      ...(message !== undefined && { message: withoutQueries(message) }),
    });
  };
}

/** Runs `work` in the span of a request, to which its log belongs then. */
export function inSpan<T>(outgoing: ServerResponse, work: () => T): T {
  const span = spanOf(outgoing);
  if (!api || !span) return work();
  const { context, trace } = api;
  return context.with(trace.setSpan(context.active(), span), work);
}

/** Gives the span of the request its route: a pattern, not a path. */
export function nameSpan(
  { method, route }: { method: string; route: string },
): void {
  const span = api?.trace.getActiveSpan();
  span?.updateName(`${method} ${route}`);
  span?.setAttribute("http.route", route);
}

/** Ends the span of a request whose client has left; Deno ends the others. */
export function endSpan(outgoing: ServerResponse, status: number): void {
  spanOf(outgoing)
    ?.setAttribute("http.response.status_code", String(status)) // as Deno does
    .end();
}

/**
 * The running span, as a header `traceparent` names it; null if nothing is
 * exported. What is done later, by any process, continues its trace.
 */
export function currentTrace(): string | null {
  const headers: { traceparent?: string } = {};
  api?.propagation.inject(api.context.active(), headers);
  return headers.traceparent ?? null;
}

/** Does a job in a span of its own, in the trace of what accepted the job. */
export async function inSpanOfJob(
  { id, kind, attempts, trace }: Job,
  work: () => Promise<void>,
): Promise<void> {
  if (!api) return await work();
  const { ROOT_CONTEXT, SpanKind, context, propagation } = api;
  const parent = trace === null
    ? ROOT_CONTEXT
    : propagation.extract(ROOT_CONTEXT, { traceparent: trace });
  const span = api.trace.getTracer("zoomin").startSpan(`job ${kind}`, {
    kind: SpanKind.CONSUMER,
    attributes: { "job.id": id, "job.kind": kind, "job.attempt": attempts },
  }, parent);
  try {
    await context.with(api.trace.setSpan(parent, span), work);
  } finally {
    span.end();
  }
}

/** Marks the running span as failed. */
export function failSpan(): void {
  api?.trace.getActiveSpan()?.setStatus({ code: api.SpanStatusCode.ERROR });
}

/** The span that Deno made for a request. */
function spanOf(outgoing: ServerResponse): Span | undefined {
  const key = api && Object.getOwnPropertySymbols(outgoing)
    .find(({ description }) => description === "kOtelSpan");
  return key && Reflect.get(outgoing, key);
}
