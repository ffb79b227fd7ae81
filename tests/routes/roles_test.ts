/** Callers of several tokens: what each may do, and whose jobs each sees. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { Tokens } from "../../lib/serve/auth.ts";
import {
  assertRefused,
  imageOf,
  type JobDocument,
  post,
  serverOfFile,
  SMALL_SETTINGS,
  withServer,
} from "../serve/served.ts";
import { eventually } from "../waiting.ts";

const server = serverOfFile("--token-file", "tokens", "--workers", "1");

const ROLES = {
  alice: "classify",
  bob: "classify",
  trainer: "train",
  boss: "admin",
} as const;
type Name = keyof typeof ROLES;

Deno.writeTextFileSync(
  join(server.folder, "tokens"),
  Object.entries(ROLES).map(([name, role]) => {
    const hash = createHash("sha256").update(tokenOf(name)).digest("hex");
    return `${name} ${role} sha256:${hash}\n`;
  }).join(""),
);

function tokenOf(name: string): string {
  return `the-token-of-${name}`;
}

function headersOf(name: Name): Record<string, string> {
  return { authorization: `Bearer ${tokenOf(name)}` };
}

/** Asks as `name`. */
function ask(name: Name, path: string, method = "GET"): Promise<Response> {
  return fetch(server.url + path, { method, headers: headersOf(name) });
}

const training = {
  data: "manifest.csv",
  preset: "needle",
  settings: SMALL_SETTINGS,
  epochs: 1000,
};

async function statusOf(response: Promise<Response>): Promise<number> {
  const { status, body } = await response;
  await body?.cancel();
  return status;
}

Deno.test("a role bounds what a token may do", async () => {
  const path = "/v1/models/first";
  for (const name of ["alice", "trainer"] as const) {
    for (const action of ["load", "unload", "default"]) {
      await assertRefused(await ask(name, `${path}/${action}`, "POST"), {
        status: 403,
        error: /the role "(classify|train)", and this needs "admin"/,
      });
    }
    await assertRefused(await ask(name, path, "DELETE"), { status: 403 });
    assert.equal(await statusOf(ask(name, path)), 200);
    const image = await imageOf(server.folder);
    const classified = fetch(`${server.url}/v1/classify`, {
      method: "POST",
      headers: { ...headersOf(name), "content-type": "image/png" },
      body: image,
    });
    assert.equal(await statusOf(classified), 200);
  }
  assert.equal(await statusOf(ask("boss", `${path}/load`, "POST")), 200);
  for (
    const [route, request] of [
      ["train", { ...training, name: "no" }],
      ["jobs", { ...training, kind: "train", name: "no" }],
    ] as const
  ) {
    await assertRefused(
      await post(`${server.url}/v1/${route}`, request, headersOf("alice")),
      { status: 403, error: /this needs "train"/ },
    );
  }
  await assertRefused(await ask("trainer", "/v1/workers"), { status: 403 });
  const { workers } = await (await ask("boss", "/v1/workers")).json();
  assert.deepEqual(
    workers.map(({ pid }: { pid: number }) => pid),
    [server.served.process.pid],
  );
  const table = "?table=manifest.csv";
  for (const route of ["", "/boxes.csv"]) {
    const path = `/v1/annotations${route}${table}`;
    await assertRefused(await ask("alice", path), { status: 403 });
    assert.equal(await statusOf(ask("trainer", path)), 200);
  }
  const image = `/v1/annotations/image${table}&image=images/test_00000.png`;
  for (const method of ["GET", "PUT"]) {
    await assertRefused(await ask("alice", image, method), { status: 403 });
  }
});

Deno.test("a job is seen by who made it, and by an admin", async () => {
  const key = { "idempotency-key": "one" };
  const make = async (name: Name, more = key) =>
    await (await post(
      `${server.url}/v1/batch`,
      { manifest: "manifest.csv" },
      { ...headersOf(name), ...more },
    )).json() as JobDocument;
  const { id } = await make("alice");
  assert.equal((await make("alice")).id, id);
  const other = await make("bob"); // one key of two callers is two jobs
  assert.notEqual(other.id, id);
  const path = `/v1/jobs/${id}`;
  const parts = ["", "/events", "/result", "/log", "/heatmap.png?image=0"];
  for (const name of ["bob", "trainer"] as const) {
    for (const part of parts) {
      await assertRefused(await ask(name, path + part), {
        status: 404,
        error: /^No such job/,
      });
    }
    for (const action of ["cancel", "resume"]) {
      await assertRefused(await ask(name, `${path}/${action}`, "POST"), {
        status: 404,
      });
    }
    await assertRefused(await ask(name, path, "DELETE"), {
      status: 404,
      error: /^No such job/,
    });
  }
  const listed = async (name: Name) => {
    const { jobs } = await (await ask(name, "/v1/jobs")).json();
    return jobs.map(({ id }: JobDocument) => id);
  };
  assert.deepEqual(await listed("alice"), [id]);
  assert.deepEqual(await listed("bob"), [other.id]);
  assert.deepEqual(await listed("trainer"), []);
  assert.deepEqual(await listed("boss"), [other.id, id]);
  for (const name of ["alice", "boss"] as const) {
    assert.equal(await statusOf(ask(name, path)), 200);
  }
  await cancel("alice", id);
  await cancel("boss", other.id);
  const last = `/v1/jobs/${other.id}`;
  assert.equal(await statusOf(ask("alice", path, "DELETE")), 204);
  assert.equal(await statusOf(ask("boss", last, "DELETE")), 204);
  assert.deepEqual(await listed("boss"), []);
});

/** Cancels a job, and waits for its end. */
async function cancel(name: Name, id: string): Promise<void> {
  const path = `/v1/jobs/${id}`;
  await statusOf(ask(name, `${path}/cancel`, "POST"));
  await eventually("it has ended", async () => {
    const { finishedAt } = await (await ask(name, path)).json();
    return finishedAt !== null;
  });
}

Deno.test("pages of jobs leave no place for those of others", async () => {
  const made: string[] = [];
  for (const name of ["alice", "bob", "alice", "bob", "alice"] as const) {
    const answer = await post(
      `${server.url}/v1/batch`,
      { manifest: "manifest.csv" },
      headersOf(name),
    );
    const { id } = await answer.json();
    if (name === "alice") made.unshift(id);
  }
  const seen: string[] = [];
  let next = "";
  do {
    const query = `limit=2${next && `&before=${next}`}`;
    const page = await (await ask("alice", `/v1/jobs?${query}`)).json();
    seen.push(...page.jobs.map(({ id }: JobDocument) => id));
    assert.equal(page.jobs.length, seen.length <= 2 ? 2 : 1);
    next = page.next ?? "";
  } while (next);
  assert.deepEqual(seen, made);
});

Deno.test({
  name: "wrong tokens of one address leave the others alone",
  ignore: Deno.build.os === "darwin", // its loopback is one address
  async fn() {
    const guess = async (localAddress: string) => {
      const headers = { authorization: "Bearer a-wrong-token-of-someone" };
      const url = `${server.url}/v1/models`;
      const [answer]: IncomingMessage[] = await once(
        get(url, { headers, localAddress }),
        "response",
      );
      answer!.resume();
      return answer!.statusCode;
    };
    const guesses = Array.from({ length: 30 }, () => guess("127.0.0.2"));
    assert.deepEqual(new Set(await Promise.all(guesses)), new Set([401]));
    assert.equal(await guess("127.0.0.2"), 429);
    assert.equal(await guess("127.0.0.1"), 401);
  },
});

Deno.test("who lost the role train cannot resume a training", async () => {
  const headers = headersOf("alice");
  const make = (url: string) =>
    post(`${url}/v1/train`, { ...training, name: "second" }, headers);
  const tokens = join(server.folder, "one token");
  const asRole = async (role: string) => {
    const hash = createHash("sha256").update(tokenOf("alice")).digest("hex");
    await Deno.writeTextFile(tokens, `alice ${role} sha256:${hash}`);
    return { tokens: await Tokens.read(tokens) };
  };
  let job = "";
  await withServer(server.folder, await asRole("train"), async (url) => {
    const { id } = await (await make(url)).json();
    job = `/v1/jobs/${id}`;
    await statusOf(fetch(`${url}${job}/cancel`, { method: "POST", headers }));
    await eventually("it is cancelled", async () => {
      const { state } = await (await fetch(url + job, { headers })).json();
      return state === "cancelled";
    });
  });
  await withServer(server.folder, await asRole("classify"), async (url) => {
    assert.equal(await statusOf(fetch(url + job, { headers })), 200);
    await assertRefused(
      await fetch(`${url}${job}/resume`, { method: "POST", headers }),
      { status: 403, error: /this needs "train"/ },
    );
  });
});

Deno.test("the log names the caller, and no token", async () => {
  await statusOf(ask("boss", "/v1/models"));
  const callers = () => server.served.log.map(({ caller }) => caller);
  await eventually("boss is logged", () => callers().includes("boss"));
  assert.doesNotMatch(server.served.stderr, /the-token-of/);
});
