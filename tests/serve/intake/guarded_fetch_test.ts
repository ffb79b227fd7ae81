import assert from "node:assert/strict";
import { ImageRefusedError } from "../../../lib/errors.ts";
import { openUrl } from "../../../lib/image/bytes/http.ts";
import {
  assertAllowed,
  guardedFetch,
  isAllowable,
  withoutSecrets,
} from "../../../lib/serve/intake/guarded_fetch.ts";
import { serveFile } from "../../image/file_server.ts";
import { within } from "../../waiting.ts";

/** A host that redirects to what the path says, and one that is not allowed. */
async function withHosts(
  test: (hosts: { allowed: string; other: string }) => Promise<void>,
): Promise<void> {
  const reached: string[] = [];
  const serve = (name: string) =>
    Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/to") {
        const location = searchParams.get("url")!;
        return new Response(null, { status: 302, headers: { location } });
      }
      reached.push(name);
      return new Response(`${name} ${request.headers.get("range")}`);
    });
  await using allowed = serve("allowed");
  await using other = serve("other");
  await test({
    allowed: `127.0.0.1:${allowed.addr.port}`,
    other: `127.0.0.1:${other.addr.port}`,
  });
  assert.ok(!reached.includes("other"), "the other host was reached");
}

Deno.test("an allowed host is fetched from, across its own redirects", async () => {
  await withHosts(async ({ allowed }) => {
    const fetch = guardedFetch([allowed]);
    const headers = { range: "bytes=0-9" };
    const direct = await fetch(`http://${allowed}/a`, { headers });
    assert.equal(await direct.text(), "allowed bytes=0-9");
    for (const url of ["/a", `http://${allowed}/a`]) {
      const to = encodeURIComponent(url);
      const response = await fetch(`http://${allowed}/to?url=${to}`);
      assert.equal(await response.text(), "allowed null");
    }
  });
});

Deno.test("no redirect leads to a host that is not allowed", async () => {
  await withHosts(async ({ allowed, other }) => {
    const fetch = guardedFetch([allowed, "169.254.169.254"]);
    const port = other.split(":")[1]!;
    const places = [
      `http://${other}/`,
      `http://localhost:${port}/`,
      `http://[::ffff:127.0.0.1]:${port}/`,
      `http://2130706433:${port}/`, // 127.0.0.1 as a number
      "http://169.254.169.254/latest/meta-data/", // even if it is listed
      "file:///etc/passwd",
      "data:,x",
      `http://user@${allowed}/`,
    ];
    for (const place of places) {
      await assert.rejects(fetch(place), ImageRefusedError, place);
      const to = encodeURIComponent(place);
      await assert.rejects(
        fetch(`http://${allowed}/to?url=${to}`),
        ImageRefusedError,
        place,
      );
    }
  });
});

Deno.test("redirects end", async () => {
  await using host = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response(null, { status: 307, headers: { location: "/again" } }),
  );
  const name = `127.0.0.1:${host.addr.port}`;
  await assert.rejects(
    guardedFetch([name])(`http://${name}/`),
    /redirects more than 5 times/,
  );
});

Deno.test("an allowed name must resolve to public addresses", async () => {
  await withHosts(async ({ other }) => {
    const port = other.split(":")[1]!;
    for (const name of ["localhost", "LOCALHOST"]) {
      await assert.rejects(
        guardedFetch([`localhost:${port}`])(`http://${name}:${port}/`),
        (error: Error) =>
          error instanceof ImageRefusedError &&
          /address is not public/.test(error.message),
        name,
      );
    }
  });
});

Deno.test("a host without a port means the usual one", async () => {
  const fetch = guardedFetch(["127.0.0.1"]);
  await assert.rejects(fetch("http://127.0.0.1:81/"), ImageRefusedError);
  // Whether anything listens there or not.
  assert.doesNotThrow(() =>
    assertAllowed(new URL("http://127.0.0.1:80/"), ["127.0.0.1"])
  );
});

Deno.test("a pattern that no address can match is told apart from a host", () => {
  const hosts = [
    ...["example.org", "EXAMPLE.org", "example.org:80", "example.org:443"],
    ...["10.0.0.1:8080", "[2001:db8::1]", "[2001:db8::1]:8080", "localhost"],
  ];
  for (const host of hosts) {
    assert.ok(isAllowable(host), host);
    const url = new URL(`http://${host}/a.tif`);
    assert.doesNotThrow(() => assertAllowed(url, [host]), host);
  }
  const others = [
    ...["https://example.org", "example.org/x", "example.org:99999", ""],
    ...["user@example.org", "*.example.org", "2001:db8::1", "exa mple.org"],
    ...["127.1", "169.254.169.254", "example.org?x"],
  ];
  for (const host of others) assert.ok(!isAllowable(host), host);
});

Deno.test("an aborted request ends", async () => {
  const asked = Promise.withResolvers<void>();
  const silence = Promise.withResolvers<Response>();
  await using host = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => {
      asked.resolve();
      return silence.promise;
    },
  );
  const name = `127.0.0.1:${host.addr.port}`;
  const leaving = new AbortController();
  const { signal } = leaving;
  const waiting = guardedFetch([name])(`http://${name}/`, { signal });
  const refused = assert.rejects(waiting, { name: "AbortError" });
  await within("it was asked for", asked.promise);
  leaving.abort();
  await within("it has ended", refused);
  silence.resolve(new Response("late"));
});

Deno.test("a host that is silent is told of as such", async () => {
  await using host = await serveFile(new Uint8Array(1), {
    trouble: () => ({ kind: "stall" }),
  });
  const fetch = guardedFetch([new URL(host.url).host]);
  const limits = { idleTimeoutMs: 50, attempts: 2, firstPauseMs: 1 };
  await assert.rejects(openUrl(host.url, { fetch, ...limits }), {
    message: "the server sent nothing for 50 ms, at the last of 2 attempts",
  });
});

Deno.test("messages omit queries and users", () => {
  assert.equal(
    withoutSecrets("https://user:pass@host.org:8443/a/b.tif?sig=secret#x"),
    "https://host.org:8443/a/b.tif",
  );
});
