/** Requests made from the OpenAPI document, good and bad: none is a 500. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { imageOf, serverOfFile } from "../serve/served.ts";

const server = serverOfFile("--workers", "1");

/** Fields of a schema that the tests use. */
interface Schema {
  $ref?: string;
  type?: string;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  not?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  maxLength?: number;
  maxProperties?: number;
  pattern?: string;
  format?: string;
  minimum?: number;
  maximum?: number;
}

interface Parameter {
  name: string;
  in: "path" | "query" | "header";
  required?: boolean;
  schema: Schema;
}

interface Operation {
  operationId: string;
  tags: string[];
  description?: string;
  security?: unknown[];
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: Record<string, unknown>;
}

interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

const ROUNDS = 40; // requests an operation
const NAMES = ["first", "second", "images/test_00000.png", "manifest.csv"];

async function documentOf(url: string): Promise<Document> {
  return await (await fetch(`${url}/openapi.json`)).json();
}

/** Makes values that fit a schema, most of the time. */
class Maker {
  readonly #random: RandomStream;
  readonly #schemas: Record<string, Schema>;

  constructor(seed: number, { components }: Document) {
    this.#random = new RandomStream(randomKey(seed));
    this.#schemas = components.schemas;
  }

  below(count: number): number {
    return this.#random.below(count);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  /** A value of `schema`; in one of `oddity` cases a wrong one. */
  value(schema: Schema, oddity = 12): unknown {
    if (this.below(oddity) === 0) return this.odd();
    const { $ref, anyOf, oneOf } = schema;
    if ($ref) {
      return this.value(this.#schemas[$ref.split("/").at(-1)!]!, oddity);
    }
    const choices = anyOf ?? oneOf;
    if (choices) return this.value(this.pick(choices), oddity);
    if (schema.const !== undefined) return schema.const;
    if (schema.enum) return this.pick(schema.enum);
    const { minimum = 0, maximum = 1000 } = schema;
    switch (schema.type) {
      case "integer":
        return minimum + this.below(Math.min(maximum - minimum, 9) + 1);
      case "number":
        return minimum + this.below(1000) / 7 + 0.001;
      case "boolean":
        return this.below(2) === 0;
      case "string":
        return schema.format === "uuid"
          ? crypto.randomUUID()
          : this.pick(NAMES);
      case "array":
        return Array.from(
          { length: Math.max(schema.minItems ?? 0, this.below(3)) },
          () => this.value(schema.items ?? {}, oddity),
        );
      case "object":
        return Object.fromEntries(
          Object.entries(schema.properties ?? {})
            .filter(([name]) =>
              schema.required?.includes(name) || this.below(3) === 0
            )
            .map(([name, schema]) => [name, this.value(schema, oddity)]),
        );
      default:
        return this.odd();
    }
  }

  odd(): unknown {
    return this.pick<unknown>([
      ...[
        null,
        true,
        -1,
        1e308,
        0.1,
        "",
        "\0",
        "../../etc/passwd",
        "é\u{1f600}",
      ],
      ...["x".repeat(5000), [], {}, [[]], { a: { b: {} } }, "0x10", "1e3"],
      ...["-0", "NaN", "__proto__", { constructor: 1 }, 2 ** 53],
    ]);
  }
}

/** A request of an operation. */
function requestOf(
  maker: Maker,
  { path, method, operation, image }: {
    path: string;
    method: string;
    operation: Operation;
    image: Uint8Array<ArrayBuffer>;
  },
): { path: string; init: RequestInit & { headers: Headers } } {
  const headers = new Headers();
  const query = new URLSearchParams();
  let target = path;
  for (
    const { name, in: place, required, schema } of operation.parameters ?? []
  ) {
    if (!required && maker.below(2) === 0) continue;
    const value = String(maker.value(schema));
    if (place === "path") {
      target = target.replace(`{${name}}`, encodeURIComponent(value || "-"));
    } else if (place === "query") query.set(name, value);
    else headers.set(name, value.replaceAll(/[^\x20-\x7e]/g, "?").trim());
  }
  const init: RequestInit & { headers: Headers } = {
    method: method.toUpperCase(),
    headers,
  };
  const content = operation.requestBody?.content;
  if (content) {
    const type = maker.pick(Object.keys(content));
    const { schema } = content[type]!;
    if (type === "application/json") {
      const text = JSON.stringify(maker.value(schema));
      init.body = maker.below(20) === 0 ? text.slice(1) : text;
      headers.set("content-type", type);
    } else if (type === "multipart/form-data") {
      const form = new FormData();
      form.append(maker.pick(["file", "file", "other"]), new Blob([image]));
      if (maker.below(2)) form.append("samples", String(maker.odd()));
      init.body = form;
    } else {
      init.body = maker.below(3) === 0 ? image.slice(0, 1000) : image;
      headers.set("content-type", type.replace("*", "png"));
    }
  }
  const search = query.size > 0 ? `?${query}` : "";
  return { path: target + search, init };
}

Deno.test("the document is OpenAPI 3.1 and names every route", async () => {
  const document = await documentOf(server.url);
  assert.equal(document.openapi, "3.1.0");
  const paths = Object.keys(document.paths);
  for (
    const path of [
      "/v1/classify",
      "/v1/train",
      "/v1/batch",
      "/v1/jobs",
      "/v1/jobs/{id}",
      "/v1/jobs/{id}/events",
      "/v1/jobs/{id}/result",
      "/v1/jobs/{id}/heatmap.png",
      "/v1/jobs/{id}/regions.geojson",
      "/v1/jobs/{id}/cancel",
      "/v1/models",
      "/v1/models/{name}",
      "/v2/models/{model}/infer",
      "/v2/models/{model}/versions/{version}/infer",
      "/v2/health/ready",
      "/livez",
      "/readyz",
      "/healthz",
      "/metrics",
    ]
  ) assert.ok(paths.includes(path), path);
  const ids = Object.values(document.paths)
    .flatMap((item) => Object.values(item))
    .map(({ operationId }) => operationId);
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(ids.every((id) => /^[a-z]\w*$/.test(id)), ids.join());
  assert.ok(ids.includes("getJobsByIdEvents"), ids.join());
  const groups = Object.fromEntries(
    Object.entries(document.paths)
      .map(([path, item]) => [path, Object.values(item)[0]!.tags]),
  );
  assert.deepEqual(groups["/v1/jobs/{id}/events"], ["jobs"]);
  assert.deepEqual(groups["/v2/models/{model}"], ["inference"]);
  assert.deepEqual(groups["/livez"], ["monitoring"]);
});

Deno.test("the document says which fields exclude each other", async () => {
  const { components: { schemas } } = await documentOf(server.url);
  const choices = {
    ClassifyByName: ["Classify", ["Uri", "Path", "Upload"]],
    ClassifyJob: ["ClassifyJob", ["Uri", "Path"]],
  } as const;
  for (const [name, [choice, fields]] of Object.entries(choices)) {
    const names = fields.map((field) => `${choice}By${field}`);
    assert.deepEqual(
      schemas[name]!.oneOf,
      names.map((name) => ({ $ref: `#/components/schemas/${name}` })),
    );
    assert.deepEqual(schemas[name]!.properties, undefined);
    for (const [i, field] of fields.entries()) {
      const { required, properties, additionalProperties } =
        schemas[names[i]!]!;
      const own = field.toLowerCase();
      assert.ok(required!.includes(own));
      const others = fields.map((one) => one.toLowerCase())
        .filter((one) => one !== own);
      assert.ok(others.every((other) => !properties![other]), field);
      assert.ok(properties!.samples, "the other fields stay");
      assert.equal(additionalProperties, false);
    }
  }
  assert.deepEqual(schemas.Train!.not, { required: ["preset", "config"] });
});

Deno.test("every number and text of a request has bounds", async () => {
  const { paths, components: { schemas } } = await documentOf(server.url);
  const unbounded: string[] = [];
  const look = (schema: Schema, place: string): void => {
    const { $ref, type, properties = {}, items } = schema;
    const name = $ref?.split("/").at(-1);
    const isBounded = type === "string"
      ? [schema.enum, schema.maxLength, schema.pattern, schema.format]
      : type === "array"
      ? [schema.maxItems]
      : [schema.maximum];
    if (/^(string|array|integer|number)$/.test(type ?? "")) {
      if (isBounded.every((bound) => bound === undefined)) {
        unbounded.push(place);
      }
    }
    if (name) look(schemas[name]!, name);
    for (const choice of schema.oneOf ?? []) look(choice, place);
    for (const [key, value] of Object.entries(properties)) {
      look(value, `${place}.${key}`);
    }
    if (items) look(items, `${place}[]`);
  };
  for (const [path, item] of Object.entries(paths)) {
    for (const { parameters = [], requestBody } of Object.values(item)) {
      for (const { name, schema } of parameters) {
        look(schema, `${path} ${name}`);
      }
      for (const { schema } of Object.values(requestBody?.content ?? {})) {
        look(schema, path);
      }
    }
  }
  // A tensor: the bound is that of the body.
  assert.deepEqual([...new Set(unbounded)], ["InferRequest.inputs[].data"]);
  for (const field of ["config", "settings"]) {
    assert.equal(schemas.Train!.properties![field]!.maxProperties, 1000);
  }
});

Deno.test("the result of a job is told of by its kind", async () => {
  const { paths } = await documentOf(server.url);
  const { responses } = paths["/v1/jobs/{id}/result"]!.get!;
  assert.deepEqual((responses["200"] as { content: unknown }).content, {
    "application/json": {
      schema: {
        anyOf: [
          { $ref: "#/components/schemas/Classification" },
          { $ref: "#/components/schemas/Trained" },
          { $ref: "#/components/schemas/CrossValidated" },
        ],
      },
    },
    "application/x-ndjson": {
      schema: { type: "string", description: "One JSON document a line" },
    },
  });
});

Deno.test("no request that the document allows, or forbids, is a 500", async () => {
  const document = await documentOf(server.url);
  const image = await imageOf(server.folder);
  const seed = Number(Deno.env.get("ZOOMIN_TEST_SEED") ?? 1);
  const maker = new Maker(seed, document);
  const seen = new Set<string>();
  const models = join(server.folder, "models");
  await copyRun(join(models, "first"), join(models, "second"));
  for (const { path, method, operation } of operationsOf(document)) {
    for (let round = 0; round < ROUNDS; round++) {
      const request = requestOf(maker, { path, method, operation, image });
      const response = await fetch(server.url + request.path, request.init);
      await response.body?.cancel();
      const { status } = response;
      const told = `${method} ${request.path} (seed ${seed}): ${status}`;
      assert.ok(status < 500 || status === 503, told);
      const documented = Object.keys(operation.responses).map(Number);
      // A path that was changed by an odd name is another path.
      if (!/\/(-|%00|\.\.)/.test(request.path) && status !== 405) {
        assert.ok(documented.includes(status), `${told}, not documented`);
      }
      seen.add(`${method} ${status}`);
    }
  }
  const expected = [
    ...["get 200", "get 400", "get 404", "post 200", "post 202", "post 400"],
    ...["post 404", "delete 204", "delete 400", "delete 404"],
  ];
  for (const answer of expected) assert.ok(seen.has(answer), `never ${answer}`);
});

/** All operations; those that take models away from the others come last. */
function operationsOf({ paths }: Document) {
  const all = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .map(([method, operation]) => ({ path, method, operation }))
  );
  const takesAway = ({ path, method }: { path: string; method: string }) =>
    method === "delete" ? 2 : path.endsWith("/unload") ? 1 : 0;
  return all.sort((a, b) => takesAway(a) - takesAway(b));
}

async function copyRun(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) {
    await Deno.copyFile(join(from, name), join(to, name));
  }
}

Deno.test("the page of the document needs nothing from elsewhere", async () => {
  const get = async (path: string) => {
    const response = await fetch(server.url + path);
    assert.equal(response.status, 200, path);
    return { text: await response.text(), headers: response.headers };
  };
  const { text, headers } = await get("/docs");
  assert.match(headers.get("content-security-policy")!, /script-src 'self'/);
  const links = [...text.matchAll(/(?:src|href)="([^"]+)"/g)]
    .map(([, link]) => link!);
  assert.equal(links.length, 3);
  for (const link of links) {
    assert.doesNotMatch(link, /^(https?:)?\/\//);
    assert.ok((await get(`/${link}`)).text.length > 50, link);
  }
});

Deno.test("the document states who may use a route, and how", async () => {
  const { components, security, paths } = await (await fetch(
    `${server.url}/openapi.json`,
  )).json();
  const { type, scheme, description } = components.securitySchemes.token;
  assert.deepEqual({ type, scheme }, { type: "http", scheme: "bearer" });
  assert.match(description, /Authorization: Bearer TOKEN/);
  assert.deepEqual(security, [{ token: [] }, {}]);
  const open: string[] = [], roles: Record<string, string> = {};
  for (
    const [path, methods] of Object.entries<Record<string, Operation>>(paths)
  ) {
    for (const [method, operation] of Object.entries(methods)) {
      const { security, description, responses } = operation;
      if (security?.length === 0) {
        open.push(path);
        continue;
      }
      const [, role] = /^Role: (\w+)$/.exec(description ?? "") ?? [];
      if (role) roles[`${method} ${path}`] = role;
      if (path === "/metrics") continue;
      for (const status of ["401", "403", "429"]) {
        assert.ok(status in responses, `${method} ${path} ${status}`);
      }
    }
  }
  assert.deepEqual(open.toSorted(), [
    "/healthz",
    "/livez",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
  ]);
  const model = "/v1/models/{name}";
  assert.deepEqual(roles, {
    "get /v1/annotations": "train",
    "get /v1/annotations/image": "train",
    "put /v1/annotations/image": "train",
    "get /v1/annotations/boxes.csv": "train",
    "post /v1/batch": "classify",
    "post /v1/jobs": "classify",
    "post /v1/train": "train",
    [`delete ${model}`]: "admin",
    [`post ${model}/load`]: "admin",
    [`post ${model}/unload`]: "admin",
    [`post ${model}/default`]: "admin",
    "get /v1/workers": "admin",
  });
});
