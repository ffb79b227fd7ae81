/**
 * Requests that cost much for what they are: each is refused or answered, and
 * `/livez` answers meanwhile.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { drawModels, post, serve } from "../serve/served.ts";
import { latencyDuring, MAX_P99_MS } from "./livez.ts";

/** Sends a request some times; the statuses of the answers. */
type Costly = (url: string) => Promise<number[]>;

/** Sends each, and checks how long `/livez` took. */
export async function costly(
  { clients, seconds }: Record<string, number>,
  report: (figures: Record<string, unknown>) => void,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "zoomin-costly-" });
  try {
    await drawModels(folder);
    const requests = await prepared(join(folder, "set"), {
      clients: clients!,
      seconds: seconds!,
    });
    // A broken model of gigabytes is looked at again and again meanwhile.
    await Deno.mkdir(join(folder, "models", "broken"));
    const broken = join(folder, "models", "broken", "best.safetensors");
    await Deno.writeTextFile(broken, "");
    await Deno.truncate(broken, 6e9);
    await using served = await serve(
      folder,
      ...["--models", "models", "--data-root", "set", "--workers", "1"],
    );
    const late: string[] = [];
    for (const [name, send] of Object.entries(requests)) {
      const { result, latency: livez } = await latencyDuring(
        served.url,
        () => send(served.url),
      );
      report({ name, statuses: counted(result), livez });
      if (livez.p99 > MAX_P99_MS) late.push(`${name}: ${livez.p99} ms`);
    }
    assert.deepEqual(served.log.filter(({ event }) => event === "bug"), []);
    assert.deepEqual(late, []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The requests, with the files that they name in the folder of data. */
async function prepared(
  data: string,
  { clients, seconds }: { clients: number; seconds: number },
): Promise<Record<string, Costly>> {
  const write = (name: string, header: string, row: string, rows: number) =>
    writeTable(join(data, name), { header, row, rows });
  await write("short.csv", "image", "a.png\n", 152e6 / 6);
  await write("long.csv", "image", "images/test_00000.png\n", 2e6);
  const labelled = "images/test_00000.png,negative\n";
  await write("labelled.csv", "image,label", labelled, 2e5);
  const wide = await picture(67_108_864, 1);
  const interlaced = await picture(8192, 8192, true);
  const image = await Deno.readFile(join(data, "images", "test_00000.png"));
  return {
    "training with 4,000 unknown keys": train({ config: keys(4000) }),
    "training with 8,000 unknown keys": train({ config: keys(8000) }),
    "a table of 152 MB": batch("short.csv"),
    "a table of 2,000,000 rows": batch("long.csv"),
    "a training table of 200,000 rows": train({ data: "labelled.csv" }),
    "a PNG of 67,108,864 x 1 px": (url) => Promise.all([upload(url, wide)]),
    "eight interlaced PNGs of 8192 x 8192 px": (url) =>
      Promise.all(Array.from({ length: 8 }, () => upload(url, interlaced))),
    [`${clients} clients`]: (url) => crowd(url, image, { clients, seconds }),
  };
}

/** Writes a table, a megabyte at a time. */
async function writeTable(
  path: string,
  { header, row, rows }: { header: string; row: string; rows: number },
): Promise<void> {
  await Deno.writeTextFile(path, `${header}\n`);
  const together = Math.ceil(2 ** 20 / row.length);
  for (let left = rows; left > 0; left -= together) {
    const text = row.repeat(Math.min(left, together));
    await Deno.writeTextFile(path, text, { append: true });
  }
}

async function picture(
  width: number,
  height: number,
  progressive = false,
): Promise<Uint8Array<ArrayBuffer>> {
  const create = { width, height, channels: 3 as const, background: "#888" };
  const image = sharp({ create, limitInputPixels: false });
  return new Uint8Array(await image.png({ progressive }).toBuffer());
}

function keys(count: number): Record<string, number> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`unknown${i}`, 1]),
  );
}

function train(request: Record<string, unknown>): Costly {
  const whole = { data: "manifest.csv", name: "costly", ...request };
  return async (url) => [await statusOf(post(`${url}/v1/train`, whole))];
}

function batch(manifest: string): Costly {
  return async (url) => [await statusOf(post(`${url}/v1/batch`, { manifest }))];
}

/** Clients that come again at once, whatever they are told. */
async function crowd(
  url: string,
  image: Uint8Array<ArrayBuffer>,
  { clients, seconds }: { clients: number; seconds: number },
): Promise<number[]> {
  const end = performance.now() + 1000 * seconds;
  const statuses: number[] = [];
  await Promise.all(Array.from({ length: clients }, async () => {
    while (performance.now() < end) statuses.push(await upload(url, image));
  }));
  return statuses;
}

function upload(url: string, body: Uint8Array<ArrayBuffer>): Promise<number> {
  const headers = { "content-type": "image/png" };
  return statusOf(
    fetch(`${url}/v1/classify`, { method: "POST", headers, body }),
  );
}

async function statusOf(asked: Promise<Response>): Promise<number> {
  const response = await asked;
  await response.body?.cancel();
  return response.status;
}

/** How many answers had each status. */
function counted(statuses: readonly number[]): Record<string, number> {
  const groups = Object.groupBy(statuses, (status) => status);
  return Object.fromEntries(
    Object.entries(groups).map(([status, all]) => [status, all!.length]),
  );
}
