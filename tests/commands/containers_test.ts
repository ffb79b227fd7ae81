/**
 * The files for Compose and Kubernetes: valid by those who know, and of one
 * mind with Dockerfile, zoomin.service and the server.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { output, programsOf, PYTHON_REQUIRED } from "../python.ts";
import { ROOT, taskCommands, taskOf } from "./process.ts";

const DOCS = join(ROOT, "docs");
const COMPOSE = ["compose.yaml", "compose.gpu.yaml"];
const KUBERNETES = "kubernetes.yaml";
const VALIDATOR = "kubernetes-validate==1.37.0"; // with the schemas of 1.37

/** Fields of the service in compose.yaml. */
interface Service {
  build: { context: string; dockerfile: string };
  command: string[];
  ports: string[];
  volumes: string[];
  stop_grace_period: string;
  healthcheck: { test: string[] };
}

/** Fields of the container in kubernetes.yaml. */
interface Container {
  args: string[];
  ports: { name: string; containerPort: number }[];
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
  [probe: `${string}Probe`]: { httpGet: { path: string; port: string } };
}

/** Fields of the Deployment in kubernetes.yaml. */
interface Pod {
  terminationGracePeriodSeconds: number;
  containers: [Container];
  volumes: { name: string }[];
}

const read = (name: string) => Deno.readTextFile(join(DOCS, name));

async function serviceOf(): Promise<Service> {
  return parse(await read("compose.yaml")).services.zoomin;
}

async function kubernetes() {
  const documents = parseAllDocuments(await read(KUBERNETES))
    .map((document) => document.toJS());
  const of = (kind: string) =>
    documents.find((document) => document.kind === kind);
  const pod: Pod = of("Deployment").spec.template.spec;
  return { pod, container: pod.containers[0], service: of("Service") };
}

/** The words of Dockerfile's ENTRYPOINT, and what they grant. */
async function entrypoint() {
  const text = (await read("Dockerfile")).replaceAll(/\\\n\s*/g, "");
  const words: string[] = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(text)![1]!);
  const after = (flag: string) => words[words.indexOf(flag) + 1];
  const granted = (name: string) =>
    words.find((word) => word.startsWith(`--allow-${name}=`))!
      .split("=")[1]!.split(",");
  const [, exposed] = /^EXPOSE (\d+)$/m.exec(text)!;
  return { after, granted, exposed };
}

/** Checks mounts below a root that is read-only. */
async function assertMounts(
  mounts: readonly { path: string; readOnly: boolean }[],
): Promise<void> {
  const { granted } = await entrypoint();
  for (const { path } of mounts) {
    assert.ok(granted("read").includes(path), `${path} cannot be read`);
  }
  const writable = mounts.filter(({ readOnly }) => !readOnly)
    .map(({ path }) => path);
  assert.deepEqual(writable.toSorted(), granted("write").toSorted());
}

Deno.test("compose.yaml runs the image as Dockerfile and zoomin.service do", async () => {
  const service = await serviceOf();
  const { after, exposed } = await entrypoint();
  assert.equal(join(DOCS, service.build.context, "docs"), DOCS);
  assert.equal(service.build.dockerfile, "docs/Dockerfile");
  assert.equal(after("--port"), exposed);
  assert.deepEqual(service.ports, [`127.0.0.1:${exposed}:${exposed}`]);
  assert.match(
    service.healthcheck.test.join(" "),
    new RegExp(`http://127\\.0\\.0\\.1:${exposed}/readyz`),
  );
  const mounts = service.volumes.map((volume) => volume.split(":"));
  await assertMounts(mounts.map(([from, path = from!, mode]) => ({
    path,
    readOnly: mode === "ro",
  })));
  const unit = await read("zoomin.service");
  for (const [from, path] of mounts) {
    if (path) assert.match(unit, new RegExp(`[ =,]${from}[ ,\n]`), from);
  }
});

Deno.test("kubernetes.yaml runs the image as Dockerfile does", async () => {
  const { pod, container, service } = await kubernetes();
  const { exposed } = await entrypoint();
  const port = { name: "http", containerPort: Number(exposed) };
  assert.deepEqual(container.ports, [port]);
  assert.equal(service.spec.ports[0].targetPort, "http");
  const probes = ["startup", "liveness", "readiness"].map((name) =>
    container[`${name}Probe`]!.httpGet
  );
  assert.deepEqual(probes, [
    { path: "/livez", port: "http" },
    { path: "/livez", port: "http" },
    { path: "/readyz", port: "http" },
  ]);
  await assertMounts(container.volumeMounts.map((
    { mountPath: path, readOnly = false },
  ) => ({ path, readOnly })));
  assert.deepEqual(
    container.volumeMounts.map(({ name }) => name),
    pod.volumes.map(({ name }) => name),
  );
});

Deno.test("the examples of scale.md are YAML, with the permissions of the server", async () => {
  const blocks = [
    ...(await read("scale.md")).matchAll(/^```yaml\n([\s\S]*?)^```$/gm),
  ].map(([, block]) => parse(block!));
  assert.deepEqual(
    blocks.map(({ kind, services }) => kind ?? Object.keys(services)),
    ["Job", ["nats", "zoomin", "proxy"], "HorizontalPodAutoscaler"],
  );
  const { entrypoint } = blocks.find(({ services }) => services)!.services
    .zoomin;
  const granted = (words: readonly string[]) =>
    words.filter((word) => /^--(allow-(sys|env|ffi)|v8-flags|lock)/.test(word))
      .sort();
  assert.deepEqual(
    granted(entrypoint),
    granted(taskOf(taskCommands.serve!).args),
  );
});

Deno.test("whoever stops the server waits until it has stopped", async () => {
  const { drainMs, stopMs } = DEFAULT_LIMITS;
  const [, unit] = /^TimeoutStopSec=(\d+)$/m.exec(
    await read("zoomin.service"),
  )!;
  const { pod } = await kubernetes();
  const service = await serviceOf();
  assert.equal(pod.terminationGracePeriodSeconds, Number(unit));
  assert.equal(service.stop_grace_period, `${unit}s`);
  assert.ok(Number(unit) * 1000 > drainMs + stopMs);
});

const compose = await composeCommand();

Deno.test({
  name: "Compose takes compose.yaml, with the GPU and without",
  // Of docker-compose-v2, or of Debian's docker-compose.
  ignore: compose === undefined &&
    Deno.env.get("ZOOMIN_REQUIRE_COMPOSE") !== "1",
  async fn() {
    assert.ok(compose, "neither `docker compose` nor docker-compose is there");
    const [command, ...words] = compose;
    for (const files of [COMPOSE.slice(0, 1), COMPOSE]) {
      const config = parse(
        await output(
          command,
          [...words, ...files.flatMap((file) => ["-f", file]), "config"],
          { cwd: DOCS, env: { ZOOMIN_USER: "990:991" } },
        ),
      );
      const { user, deploy } = config.services.zoomin;
      assert.equal(user, "990:991");
      assert.equal(deploy !== undefined, files.length > 1);
    }
  },
});

Deno.test({
  name: "Kubernetes' schemas take kubernetes.yaml",
  ignore: !PYTHON_REQUIRED,
  async fn() {
    const programs = await programsOf(VALIDATOR);
    const said = await output(
      join(programs, "kubernetes-validate"),
      ["--strict", KUBERNETES],
      { cwd: DOCS },
    );
    assert.equal(said.match(/ passed for resource /g)?.length, 3, said);
  },
});

/** The command of Compose that this machine has. */
async function composeCommand(): Promise<
  [command: string, ...words: string[]] | undefined
> {
  const commands = [["docker", "compose"], ["docker-compose"]] as const;
  for (const [command, ...words] of commands) {
    const args = [...words, "version"];
    const has = await new Deno.Command(command, { args }).output()
      .catch(() => ({ success: false }));
    if (has.success) return [command, ...words];
  }
}
