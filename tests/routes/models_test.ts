import assert from "node:assert/strict";
import { join } from "node:path";
import { assertRefused, post, serverOfFile } from "../serve/served.ts";

const server = serverOfFile();

interface ModelDocument {
  name: string;
  version: string;
  sha256: string;
  state: string;
  default: boolean;
  classes: string[];
  epoch: number;
  metrics: Record<string, number | null>;
  config: { preset: string };
}

async function send(method: string, path: string): Promise<Response> {
  return await fetch(`${server.url}/v1/models${path}`, { method });
}

async function list() {
  return await (await send("GET", "")).json() as {
    models: ModelDocument[];
    faults: { name: string; error: string }[];
  };
}

async function modelOf(response: Response): Promise<ModelDocument> {
  const model = await response.json();
  assert.equal(response.status, 200, JSON.stringify(model));
  return model;
}

async function classify(model?: string): Promise<Response> {
  return await post(`${server.url}/v1/classify`, {
    path: "images/test_00000.png",
    ...(model && { model }),
  });
}

/** Copies the first model's best checkpoint under another name. */
async function copy(name: string): Promise<void> {
  const models = join(server.folder, "models");
  await Deno.copyFile(
    join(models, "first", "best.safetensors"),
    join(models, name),
  );
}

Deno.test("a model is told with its hash, configuration and figures", async () => {
  const { models, faults } = await list();
  assert.deepEqual(faults, []);
  assert.deepEqual(models.map(({ name }) => name), ["first"]);
  const [model] = models;
  assert.equal(model!.state, "loaded");
  assert.equal(model!.default, true);
  assert.deepEqual(model!.classes, ["negative", "positive"]);
  assert.equal(model!.epoch, 1);
  assert.equal(model!.config.preset, "needle");
  assert.equal(typeof model!.metrics.loss, "number");
  assert.deepEqual(await modelOf(await send("GET", "/first")), model);
});

Deno.test("a model can be added, unloaded, loaded, made default and removed", async () => {
  await copy("second.safetensors");
  await copy("third.safetensors");
  await Deno.writeTextFile(
    join(server.folder, "models", "broken.safetensors"),
    "no tensors",
  );
  const { models, faults } = await list();
  assert.deepEqual(models.map(({ name }) => name), [
    "first",
    "second",
    "third",
  ]);
  assert.deepEqual(faults.map(({ name }) => name), ["broken"]);
  assert.match(faults[0]!.error, /^Cannot use broken.safetensors as /);

  assert.equal(
    (await modelOf(await send("POST", "/second/default"))).default,
    true,
  );
  const answer = await (await classify()).json();
  assert.equal(answer.model.name, "second");
  await assertRefused(await send("DELETE", "/second"), {
    status: 409,
    error: /is the default/,
  });

  // All three are the same weights: one may go without the others.
  const third = await modelOf(await send("POST", "/third/unload"));
  assert.equal(third.state, "unloaded");
  await assertRefused(await classify("third"), { status: 409 });
  assert.equal((await classify("first")).status, 200);

  // Another process of the same folder does this.
  await Deno.writeTextFile(
    join(server.folder, "models", ".server", "default"),
    "third",
  );
  const others = (await list()).models.filter((model) => model.default);
  assert.deepEqual(others.map(({ name }) => name), ["third"]);

  await send("POST", "/first/default").then(modelOf);
  const gone = await send("DELETE", "/second");
  assert.equal(gone.status, 204);
  assert.equal((await send("DELETE", "/third")).status, 204);
  await assertRefused(await classify("second"), { status: 404 });
  const names = (await list()).models.map(({ name }) => name);
  assert.deepEqual(names, ["first"]);

  const unloaded = await modelOf(await send("POST", "/first/unload"));
  assert.equal(unloaded.state, "unloaded");
  await assertRefused(await classify(), { status: 409, error: /not loaded/ });
  const loaded = await modelOf(await send("POST", "/first/load"));
  assert.equal(loaded.state, "loaded");
  assert.equal((await classify()).status, 200);
});

Deno.test("a link that leads nowhere is a fault of that model alone", async () => {
  const models = join(server.folder, "models");
  await Deno.writeTextFile(join(models, "notes.txt"), "not meant as a model");
  const links = ["lost", "lost-file.safetensors"].map((name) =>
    join(models, name)
  );
  for (const link of links) await Deno.symlink("nowhere", link);
  const { models: found, faults } = await list();
  assert.ok(found.some(({ name }) => name === "first"));
  const named = faults.filter(({ name }) => name !== "broken");
  assert.deepEqual(named.map(({ name }) => name).sort(), ["lost", "lost-file"]);
  for (const { error } of named) assert.match(error, /^Cannot find the check/);
  assert.equal((await classify("first")).status, 200);
  for (const link of links) await Deno.remove(link);
});

Deno.test({
  name: "a pipe among the models is a fault, and not waited for",
  ignore: Deno.build.os === "windows",
  async fn() {
    const pipe = join(server.folder, "models", "pipe.safetensors");
    await new Deno.Command("mkfifo", { args: [pipe] }).output();
    try {
      const signal = AbortSignal.timeout(60_000);
      const response = await fetch(`${server.url}/v1/models`, { signal });
      const { faults } = await response.json() as Awaited<
        ReturnType<typeof list>
      >;
      const fault = faults.find(({ name }) => name === "pipe");
      assert.match(fault!.error, /^Cannot use pipe.safetensors .* no regular/);
    } finally {
      // Lets go who waits for it, if anyone does.
      using _ = await Deno.open(pipe, { read: true, write: true });
      await Deno.remove(pipe);
    }
  },
});

Deno.test("there is no other model", async () => {
  for (
    const [method, path] of [
      ["GET", "/other"],
      ["DELETE", "/other"],
      ["POST", "/other/load"],
      ["POST", "/other/unload"],
      ["POST", "/other/default"],
    ] as const
  ) {
    await assertRefused(await send(method, path), { status: 404 });
  }
  await assertRefused(await classify("other"), { status: 404 });
  await assertRefused(await send("GET", "/..%2Ffirst"), {
    status: 400,
    field: "name",
  });
});
