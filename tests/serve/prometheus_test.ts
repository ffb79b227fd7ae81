import assert from "node:assert/strict";
import { ServerMetrics } from "../../lib/serve/prometheus.ts";

Deno.test("methods that callers invent share one label", async () => {
  const metrics = new ServerMetrics({
    pending: () => 0,
    gpuBytes: () => Promise.resolve(0),
    engines: () => ({}),
    diskFree: () => Promise.resolve(5e9),
    waiting: () => Promise.resolve({}),
    workers: () => Promise.resolve([]),
    jobs: () => Promise.resolve({}),
  }, 64);
  for (const method of ["GET", "SPAM1", "SPAM2", "POST"]) {
    metrics.request({ route: "none", method, code: 404, seconds: 0.1 });
  }
  const text = await metrics.text();
  const found = [...text.matchAll(/^http_requests_total\{.*method="(\w+)"/gm)]
    .map(([, method]) => method);
  assert.deepEqual(found, ["GET", "other", "POST"]);
});
