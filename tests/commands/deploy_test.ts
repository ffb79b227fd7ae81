/**
 * The command lines of the deployment page: each with the permissions that it
 * grants, on a real server. Only folders and the port are this machine's own:
 * port 0, of the system's choice, in place of the one that is granted.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import {
  drawModels,
  imageOf,
  listening,
  post,
  SMALL_SETTINGS,
} from "../serve/served.ts";
import { folderOfFile, ROOT } from "./process.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";

const folder = folderOfFile(async (folder) => {
  await drawModels(folder);
  await Deno.writeTextFile(join(folder, "token"), TOKEN);
});

/** A command line of docs/, in words, and what each folder in it is here. */
interface Documented {
  words: string[];
  places: Record<string, string>;
}

async function readDocs(name: string): Promise<string> {
  const text = await Deno.readTextFile(join(ROOT, "docs", name));
  return text.replaceAll(/\\\n\s*/g, "");
}

async function serviceOfCompose() {
  return parse(await readDocs("compose.yaml")).services.zoomin;
}

async function ofSystemd(denoDir: string): Promise<Documented> {
  const unit = await readDocs("zoomin.service");
  const [, command] = /^ExecStart=(.*)$/m.exec(unit)!;
  return {
    words: command!.split(/\s+/),
    places: {
      "/opt/zoomin": ROOT,
      "/var/lib/zoomin/deno": denoDir,
      "/var/lib/zoomin/models": join(folder, "models"),
      "/srv/slides": join(folder, "set"),
      "/etc/zoomin.token": join(folder, "token"),
    },
  };
}

/** The image's command line, with what Compose and Kubernetes add to it. */
async function ofDocker(denoDir: string): Promise<Documented> {
  const file = await readDocs("Dockerfile");
  const [, list] = /^ENTRYPOINT (.*)$/m.exec(file)!;
  const { command } = await serviceOfCompose();
  const [, deployment] = parseAllDocuments(await readDocs("kubernetes.yaml"));
  const { containers: [{ args }] } = deployment!.toJS().spec.template.spec;
  assert.deepEqual(args, command);
  return {
    words: [...JSON.parse(list!), ...args],
    places: {
      "/app": ROOT,
      "/deno": denoDir,
      "/models": join(folder, "models"),
      "/data": join(folder, "set"),
      "/token": join(folder, "token"),
    },
  };
}

/** The words behind `deno`, with the places of this machine. */
function localWords({ words, places }: Documented): string[] {
  const named = new RegExp(
    `(?<=^|[=,])(${Object.keys(places).join("|")})(?=$|[/,])`,
    "g",
  );
  return words.slice(words.indexOf("deno") + 1).map((word) =>
    word.replaceAll(named, (place) => places[place]!)
      .replace(/\b8000$/, "0")
  );
}

async function denoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json"],
  }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

/** Takes all that comes. */
function nowhere(): WritableStream {
  return new WritableStream();
}

for (const [name, read] of Object.entries({ ofSystemd, ofDocker })) {
  Deno.test(`the command line ${name} grants what the server needs`, async () => {
    const dir = await denoDir();
    const words = localWords(await read(dir));
    const whole = words.filter((word) => /^(-A|--allow-[a-z]+)$/.test(word));
    assert.deepEqual(whole, name === "ofDocker" ? ["--allow-ffi"] : []);
    await using served = await listening(
      new Deno.Command(Deno.execPath(), {
        args: words,
        cwd: ROOT,
        clearEnv: true,
        env: { DENO_DIR: dir, NO_COLOR: "1" },
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn(),
    );
    const url = served.url.replace("0.0.0.0", "127.0.0.1");
    const headers = { authorization: `Bearer ${TOKEN}` };
    const get = (path: string) => fetch(url + path, { headers });
    const send = (path: string, body: unknown) =>
      post(url + path, body, headers);

    for (const probe of ["/livez", "/readyz"]) { // which send no token
      const response = await fetch(url + probe);
      assert.equal(response.status, 200, await response.text());
    }
    const { healthcheck } = await serviceOfCompose();
    for (const place of [url, `${url}/absent`]) {
      const [, program, ...args]: string[] = healthcheck.test;
      const { success } = await new Deno.Command(program!, {
        args: args.map((arg) => arg.replace("http://127.0.0.1:8000", place)),
        stderr: "null",
      }).output();
      assert.equal(success, place === url);
    }
    const sent = await fetch(`${url}/v1/classify`, {
      method: "POST",
      headers: { ...headers, "content-type": "image/png", accept: "image/png" },
      body: await imageOf(folder),
    });
    assert.equal(sent.headers.get("content-type"), "image/png");
    await sent.body?.cancel();
    const named = await send("/v1/classify", { path: "images/test_00001.png" });
    assert.equal(named.status, 200, await named.text());
    assert.equal(
      (await send("/v1/classify", { path: "/etc/passwd" })).status,
      403,
    );
    if (name === "ofSystemd") { // OpenSlide is no package of ours
      await Deno.copyFile(
        join(ROOT, "fixtures/tiff/trestle.tif"),
        join(folder, "set", "trestle.tif"),
      );
      const slide = await send("/v1/classify", { path: "trestle.tif" });
      assert.match(await slide.text(), /needs OpenSlide: run with --allow-ffi/);
      assert.equal(slide.status, 422);
    }
    for (const path of ["/metrics", "/docs/swagger-ui.js", "/openapi.json"]) {
      const answer = await get(path);
      assert.equal(answer.status, 200, path);
      await answer.body?.cancel();
    }

    const jobs = [
      await send("/v1/batch", { manifest: "manifest.csv", heatmaps: true }),
      await send("/v1/train", {
        data: "manifest.csv",
        name,
        preset: "needle",
        epochs: 1,
        settings: SMALL_SETTINGS,
      }),
    ];
    for (const response of jobs) {
      assert.equal(response.status, 202);
      const { id } = await response.json();
      await (await get(`/v1/jobs/${id}/events`)).body?.pipeTo(nowhere());
      const job = await (await get(`/v1/jobs/${id}`)).json();
      assert.equal(job.state, "succeeded", job.error ?? "");
    }
    assert.deepEqual(served.log.filter(({ event }) => event === "bug"), []);
  });
}
