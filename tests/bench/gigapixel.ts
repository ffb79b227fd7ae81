/**
 * Memory and time on images of a quarter of a gigapixel to 16: what `classify`
 * and a step of `train` need at the most, and what of a slide crosses a network.
 *
 *     deno task bench:gigapixel --out FOLDER [memory] [training] [remote] [decode]
 *
 * Slides and results stay in FOLDER; a part that is named alone is measured
 * anew. Prints the table as Markdown and writes FOLDER/gigapixel.svg. Every
 * figure is of a process of its own, its peak that of GNU time (`apt-get install
 * time`): the maximum resident set.
 *
 * @module
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeFileAtomically, writeJson } from "../../lib/files.ts";
import { lineChart } from "../../lib/study/chart.ts";
import { serveRanges } from "./range_server.ts";

const GIGAPIXELS = [0.25, 1, 4, 16] as const;
const LARGEST = GIGAPIXELS.at(-1)!;
const MEMORY = "512MB";
const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const RUN = ["run", "--no-prompt", "--allow-all", MAIN];
const PARTS = ["memory", "training", "remote", "decode"] as const;

type Part = (typeof PARTS)[number];

/** Time and memory of a process. */
interface Taken {
  peakMB: number;
  seconds: number;
}

/** All figures, as kept between runs. */
interface Figures {
  /** By gigapixels. */
  memory?: Record<string, Taken & { bytesRead: number; fileBytes: number }>;
  /** A step, by gigapixels. */
  training?: Record<string, Taken>;
  /** Of the largest slide. */
  remote?: Taken & {
    bytesRead: number;
    requests: number;
    fileBytes: number;
    isSame: boolean;
  };
  /** Decoding the whole of the largest slide with libvips. */
  decode?: { seconds: number };
}

/** Output of `classify --json`, as far as it is used here. */
interface Classified {
  source: string;
  timings: unknown;
  bytesRead: number;
  requests: number;
}

const { values, positionals } = parseArgs({
  options: { out: { type: "string" } },
  allowPositionals: true,
});
if (!values.out || !positionals.every((part) => PARTS.includes(part as Part))) {
  console.error(`Usage: --out FOLDER [${PARTS.join("] [")}]`);
  Deno.exit(2);
}
await measure(values.out, positionals as Part[]);

async function measure(folder: string, parts: readonly Part[]): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const file = join(folder, "figures.json");
  const figures: Figures = JSON.parse(
    await Deno.readTextFile(file).catch(() => "{}"),
  );
  await prepare(folder);
  for (const part of parts.length > 0 ? parts : PARTS) {
    switch (part) {
      case "memory":
        figures.memory = await measureMemory(folder);
        break;
      case "training":
        figures.training = await measureTraining(folder);
        break;
      case "remote":
        figures.remote = await measureRemote(folder);
        break;
      case "decode":
        figures.decode = await measureDecode(folder);
        break;
      default:
        part satisfies never;
    }
    await writeJson(file, figures);
  }
  console.log(table(figures));
  await writeFileAtomically(join(folder, "gigapixel.svg"), chart(figures));
}

/** Draws the slides and writes a checkpoint of fresh weights, once. */
async function prepare(folder: string): Promise<void> {
  for (const gigapixels of GIGAPIXELS) {
    const hasTwin = gigapixels === GIGAPIXELS[0] || gigapixels === LARGEST;
    await draw(slide(folder, gigapixels), gigapixels, 1);
    if (hasTwin) await draw(twin(folder, gigapixels), gigapixels, 2);
  }
  if (await exists(join(folder, "fresh"))) return;
  const data = await manifest(folder, GIGAPIXELS[0]);
  await zoomin("train", ...trainFlags(folder, data, "fresh"), "--epochs", "0");
}

async function draw(path: string, gigapixels: number, seed: number) {
  if (await exists(path)) return;
  console.error(`drawing ${path}`);
  const size = ["--gigapixels", String(gigapixels), "--seed", String(seed)];
  await zoomin("dataset", "slide", ...size, "--distinct", "--out", path);
}

function slide(folder: string, gigapixels: number): string {
  return join(folder, `slide-${gigapixels}.tif`);
}

/** Another slide of that size: training needs two classes. */
function twin(folder: string, gigapixels: number): string {
  return join(folder, `twin-${gigapixels}.tif`);
}

/** The manifest of both slides of a size. */
async function manifest(folder: string, gigapixels: number): Promise<string> {
  const path = join(folder, `train-${gigapixels}.csv`);
  const rows = [
    `${slide("", gigapixels)},normal,train`,
    `${twin("", gigapixels)},tumor,train`,
  ];
  await writeFileAtomically(path, `image,label,split\n${rows.join("\n")}\n`);
  return path;
}

function trainFlags(folder: string, data: string, run: string): string[] {
  return [
    ...["--data", data, "--out", join(folder, run), "--backend", "wasm"],
    ...["--preset", "camelyon16", "--memory", MEMORY],
    ...["--set", "training.validation=0", "--set", "training.batchSize=1"],
  ];
}

async function measureMemory(
  folder: string,
): Promise<Required<Figures>["memory"]> {
  const found: Required<Figures>["memory"] = {};
  for (const gigapixels of GIGAPIXELS) {
    const path = slide(folder, gigapixels);
    const { result, ...taken } = await classify(folder, path);
    const { size: fileBytes } = await Deno.stat(path);
    found[gigapixels] = { ...taken, bytesRead: result.bytesRead, fileBytes };
  }
  return found;
}

/** A run of an epoch of two steps, an image each. */
async function measureTraining(
  folder: string,
): Promise<Required<Figures>["training"]> {
  const found: Required<Figures>["training"] = {};
  for (const gigapixels of [GIGAPIXELS[0], LARGEST]) {
    const run = `run-${gigapixels}`;
    await Deno.remove(join(folder, run), { recursive: true }).catch(() => {});
    const flags = trainFlags(folder, await manifest(folder, gigapixels), run);
    const { seconds, peakMB } = await timed("train", ...flags, "--epochs", "1");
    found[gigapixels] = { peakMB, seconds: seconds / 2 };
  }
  return found;
}

async function measureRemote(
  folder: string,
): Promise<Required<Figures>["remote"]> {
  const path = slide(folder, LARGEST);
  const local = await classify(folder, path);
  await using server = serveRanges(path);
  const remote = await classify(folder, server.url);
  const { size: fileBytes } = await Deno.stat(path);
  const essence = ({ source: _, timings: __, ...rest }: Classified) =>
    JSON.stringify({ ...rest, bytesRead: 0, requests: 0 });
  return {
    peakMB: remote.peakMB,
    seconds: remote.seconds,
    bytesRead: server.bytes,
    requests: server.requests,
    fileBytes,
    isSame: essence(remote.result) === essence(local.result),
  };
}

/**
 * Time to decode all pixels of level 0 with libvips on all cores, which asks no
 * more of them than their mean (`apt-get install libvips-tools`).
 */
async function measureDecode(folder: string): Promise<{ seconds: number }> {
  const started = performance.now();
  await succeed("vips", ["avg", slide(folder, LARGEST)]);
  return { seconds: (performance.now() - started) / 1000 };
}

async function classify(folder: string, image: string) {
  const { stdout, ...taken } = await timed(
    "classify",
    ...["--checkpoint", join(folder, "fresh"), "--backend", "wasm", "--json"],
    ...["--memory", MEMORY, image],
  );
  return { ...taken, result: JSON.parse(stdout) as Classified };
}

async function timed(...args: string[]): Promise<Taken & { stdout: string }> {
  const report = await Deno.makeTempFile();
  try {
    const stdout = await succeed("/usr/bin/time", [
      ...["-f", "%M %e", "-o", report, Deno.execPath()],
      ...[...RUN, ...args],
    ]);
    const [kilobytes, seconds] = (await Deno.readTextFile(report))
      .split(" ").map(Number) as [number, number];
    return { stdout, seconds, peakMB: kilobytes * 1024 / 1e6 };
  } finally {
    await Deno.remove(report);
  }
}

async function zoomin(...args: string[]): Promise<void> {
  await succeed(Deno.execPath(), [...RUN, ...args]);
}

async function succeed(command: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { args })
    .output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (!success) {
    throw new Error(`${command} ${args.join(" ")}: ${text(stderr)}`);
  }
  return text(stdout);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

function table(
  { memory = {}, training = {}, remote, decode }: Figures,
): string {
  const rows = GIGAPIXELS.map((gigapixels) => {
    const { peakMB, seconds, bytesRead, fileBytes } = memory[gigapixels] ??
      { peakMB: NaN, seconds: NaN, bytesRead: NaN, fileBytes: NaN };
    const step = training[gigapixels];
    return [
      gigapixels,
      peakMB.toFixed(0),
      seconds.toFixed(1),
      `${(100 * bytesRead / fileBytes).toFixed(1)} %`,
      step?.peakMB.toFixed(0) ?? "",
      step?.seconds.toFixed(0) ?? "",
    ].join(" | ");
  });
  return [
    "| gigapixels | classify, peak MB | s | of the file read | a training step, peak MB | s |",
    "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ...rows.map((row) => `| ${row} |`),
    "",
    ...remote ? [remoteText(remote)] : [],
    ...decode
      ? [`libvips takes ${decode.seconds.toFixed(0)} s to decode all of it.`]
      : [],
  ].join("\n");
}

function remoteText(remote: Required<Figures>["remote"]): string {
  const { bytesRead, fileBytes, requests, seconds } = remote;
  return `Over HTTP: ${(bytesRead / 1e6).toFixed(1)} of ${
    (fileBytes / 1e6).toFixed(0)
  } MB (${
    (100 * bytesRead / fileBytes).toFixed(2)
  } %) in ${requests} requests, ${seconds.toFixed(1)} s, peak ${
    remote.peakMB.toFixed(0)
  } MB, ${
    remote.isSame ? "the same result" : "ANOTHER RESULT"
  } as of the local file.`;
}

function chart({ memory = {}, training = {} }: Figures): string {
  const points = (peaks: Record<string, Taken>) =>
    Object.entries(peaks)
      .map(([gigapixels, { peakMB }]) => [Number(gigapixels), peakMB] as const)
      .sort(([a], [b]) => a - b);
  const decoded = [0, 1 / 4].map((gigapixels) =>
    [gigapixels, gigapixels * 4000] as const
  );
  return lineChart("Peak memory of the process", {
    x: { label: "gigapixels", low: 0, high: LARGEST },
    y: { label: "MB", low: 0, high: 1000 },
    series: [
      { name: "pixels of level 0, decoded", points: decoded, reference: true },
      { name: "classify", points: points(memory), dots: true },
      { name: "a training step", points: points(training), dots: true },
    ],
  });
}
