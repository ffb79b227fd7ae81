/** The bound of `--memory`, held against the peak of a process. */
import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import {
  drawAndTrain,
  folderOfFile,
  ROOT,
  succeed,
  taskFlags,
} from "./process.ts";

const MEGABYTE = 1e6;
const BOUND_MB = 64;
const PROGRAM_MB = 220; // Deno, tfjs and libvips themselves

const folder = folderOfFile(async (folder) => {
  await drawAndTrain(folder);
  const noise = { type: "gaussian", mean: 128, sigma: 40 } as const;
  const size = { width: 4096, height: 4096, channels: 3 } as const;
  await sharp({ create: { ...size, background: "white", noise } })
    .png({ compressionLevel: 1 }).toFile(join(folder, "picture.png"));
  await succeed(
    folder,
    ...["dataset", "slide", "--gigapixels", "0.05", "--out", "slide.tif"],
  );
});

// Runs its arguments and prints the most memory that Linux says they had, kB.
const WITH_PEAK = `"$@" >/dev/null & pid=$!
while grep VmHWM /proc/$pid/status 2>/dev/null; do sleep 0.02; done | tail -n 1
wait $pid`;

/** Peak resident memory of `classify`, MB. */
async function peakOf(image: string): Promise<number> {
  const run = taskFlags("classify");
  const { success, stdout, stderr } = await new Deno.Command("sh", {
    args: [
      ...["-c", WITH_PEAK, "sh", Deno.execPath(), ...run],
      ...[join(ROOT, "main.ts"), "classify", "--checkpoint", "run"],
      ...["--backend", "wasm", "--memory", `${BOUND_MB}MB`, image],
    ],
    cwd: folder,
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.ok(success, text(stderr));
  const [, kilobytes] = /VmHWM:\s*(\d+) kB/.exec(text(stdout)) ?? [];
  return Number(kilobytes) * 1024 / MEGABYTE;
}

for (const image of ["picture.png", "slide.tif"]) {
  Deno.test(`classify --memory ${BOUND_MB}MB ${image} keeps to the bound`, async () => {
    const peak = await peakOf(image);
    assert.ok(peak <= BOUND_MB + PROGRAM_MB, `${peak} MB`);
  });
}
