/**
 * The viewer on a large image: first paint, tiles while panning, and the memory
 * of the server, in a real browser (`apt-get install chromium`).
 *
 *     deno run -A tests/bench/viewer.ts SLIDE
 *
 * SLIDE is a file, as `deno task dataset slide --gigapixels 16` writes it. The
 * first paint ends with the last tile of the first screen, and begins with the
 * opening of the page. Prints one JSON line.
 *
 * @module
 */
import { basename, dirname, join, resolve } from "node:path";
import { chromium } from "playwright-core";
import { serve } from "../serve/served.ts";

const TILES = 200;
const ROUNDS = 6; // of them, for the memory
const SCREEN = { width: 1360, height: 800 };

const [slide] = Deno.args;
if (slide === undefined) {
  console.error("Usage: SLIDE");
  Deno.exit(2);
}
const folder = await Deno.makeTempDir();
await Deno.mkdir(join(folder, "models"));
const served = await serve(
  folder,
  ...["--models", "models", "--data-root", dirname(resolve(slide))],
  ...["--workers", "1"],
);
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
try {
  const before = await residentMB(served.process.pid);
  const page = await browser.newPage({ viewport: SCREEN });
  await page.goto(`${served.url}/#path=${basename(slide)}`);
  await page.waitForURL(/zoom=/);
  await page.waitForLoadState("networkidle");
  const firstPaintMs = await page.evaluate(`Math.max(
    ...performance.getEntriesByType("resource")
      .filter(({ name }) => name.includes("image_files"))
      .map(({ responseEnd }) => responseEnd)
  )`) as number;
  const opened = await residentMB(served.process.pid);
  const times = await panning(await facts());
  const panned: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    await panning(await facts());
    panned.push(await residentMB(served.process.pid));
  }
  console.log(JSON.stringify({
    firstPaintMs: Math.round(firstPaintMs),
    medianTileMs: quantile(times, 0.5),
    tile95Ms: quantile(times, 0.95),
    slowestMs: quantile(times, 1),
    serverMB: { before, opened, panned },
  }));
} finally {
  await browser.close();
  await served.stop();
  await Deno.remove(folder, { recursive: true });
}

async function facts(): Promise<{
  width: number;
  height: number;
  zoomLevels: number;
  tileSide: number;
}> {
  const response = await fetch(
    `${served.url}/v1/image?path=${basename(slide!)}`,
  );
  return await response.json();
}

/** Times of tiles at places never seen, on all levels, one after the other. */
async function panning(
  { width, height, zoomLevels, tileSide }: Awaited<ReturnType<typeof facts>>,
): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < TILES; i++) {
    const level = zoomLevels - 1 - i % 6;
    const across = width / 2 ** (i % 6) / tileSide;
    const down = height / 2 ** (i % 6) / tileSide;
    const x = Math.floor(Math.random() * across);
    const y = Math.floor(Math.random() * down);
    const started = performance.now();
    const response = await fetch(
      `${served.url}/v1/image_files/${level}/${x}_${y}.jpeg?path=${
        basename(slide!)
      }`,
    );
    await response.arrayBuffer();
    times.push(performance.now() - started);
  }
  return times;
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Number(sorted[Math.round(part * (sorted.length - 1))]!.toFixed(1));
}

/** Resident memory of a process, MB. */
async function residentMB(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1000);
}
