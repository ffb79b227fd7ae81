/**
 * With fewer permissions than the tasks of deno.json grant: `classify` works
 * with --allow-read alone, decoding in JavaScript, and says what differs.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { JPEG_WARNING } from "../../lib/image/formats/jpeg_decoder.ts";
import { toRgb } from "../../lib/image/pyramids/rgb.ts";
import { bmpFile } from "../image/bmp_files.ts";
import { asymmetricPicture } from "../image/pictures.ts";
import {
  assertFailsInOneLine,
  drawAndTrain,
  folderOfFile,
  type Outcome,
  outcome,
  ROOT,
  succeed,
} from "./process.ts";

const PNG = "set/images/test_00000.png";
const TILES = { tile: true, tileWidth: 64, tileHeight: 64 } as const;

const folder = folderOfFile(async (folder) => {
  await drawAndTrain(folder);
  const picture = () => sharp(join(folder, PNG));
  const at = (name: string) => join(folder, name);
  await picture().tiff({ compression: "deflate" }).toFile(at("strips.tif"));
  await picture().tiff({ compression: "lzw", ...TILES }).toFile(at("lzw.tif"));
  await picture().tiff({ compression: "packbits", ...TILES })
    .toFile(at("packbits.tif"));
  await picture().tiff({ compression: "jpeg", quality: 95, ...TILES })
    .toFile(at("jpeg.tif"));
  await picture().jpeg({ quality: 95 }).toFile(at("a.jpg"));
  await picture().webp().toFile(at("a.webp"));
  await picture().tiff({ compression: "webp", ...TILES }).toFile(
    at("webp.tif"),
  );
  const { data } = toRgb(asymmetricPicture(128, 128));
  const bmp = { width: 128, height: -128, bits: 24, rows: [...data] };
  await Deno.writeFile(at("a.bmp"), bmpFile(bmp));
});

const CLASSIFY = ["classify", "--checkpoint", "run", "--json"];

/** Runs the program with the given permissions only. */
async function permitted(
  permissions: readonly string[],
  ...argv: string[]
): Promise<Outcome> {
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      ...permissions,
      join(ROOT, "main.ts"),
      ...argv,
    ],
    cwd: folder,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  return await outcome(process);
}

interface Result {
  source: string;
  label: string;
  probabilities: Record<string, number>;
  subTiles: unknown[];
  warnings: string[];
}

function resultsOf({ stdout }: Outcome): Result[] {
  return stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
}

Deno.test("classify with --allow-read alone: the same of PNG, BMP and TIFF", async () => {
  const images = [PNG, "strips.tif", "lzw.tif", "packbits.tif", "a.bmp"];
  const argv = [...CLASSIFY, "--backend", "wasm", ...images];
  const alone = await permitted(["--allow-read"], ...argv);
  assert.equal(alone.code, 0, alone.stderr);
  const expected = resultsOf(await succeed(folder, ...argv));
  for (const [i, result] of resultsOf(alone).entries()) {
    const { source, label, probabilities, subTiles } = expected[i]!;
    assert.equal(result.source, source);
    assert.equal(result.label, label);
    assert.deepEqual(result.probabilities, probabilities, source);
    assert.deepEqual(result.subTiles, subTiles, source);
    assert.ok(!result.warnings.includes(JPEG_WARNING), source);
  }
});

Deno.test("classify with --allow-read alone: a warning of JPEG, and an engine by itself", async () => {
  const argv = [...CLASSIFY, "a.jpg", "jpeg.tif"];
  const alone = await permitted(["--allow-read"], ...argv);
  assert.equal(alone.code, 0, alone.stderr);
  const expected = resultsOf(await succeed(folder, ...argv));
  for (
    const [i, { source, probabilities, warnings }] of resultsOf(alone).entries()
  ) {
    assert.deepEqual(warnings, [JPEG_WARNING], source);
    for (const [label, value] of Object.entries(probabilities)) {
      const theirs = expected[i]!.probabilities[label]!;
      assert.ok(
        Math.abs(value - theirs) < 0.02,
        `${source}: ${value}, ${theirs}`,
      );
    }
    assert.deepEqual(expected[i]!.warnings, []);
  }
});

Deno.test("what only sharp does is refused by name where it does not load", async () => {
  const refused: [string[], string[], RegExp][] = [
    [
      ["--allow-read"],
      ["a.webp"],
      /a\.webp as WebP: only sharp decodes it, and it does not load \(there is no --allow-ffi\); run with the permissions/,
    ],
    [
      ["--allow-read"],
      ["webp.tif"],
      /webp\.tif as TIFF: its blocks are WebP, which only sharp decodes: run with --allow-ffi/,
    ],
    [
      ["--allow-read", "--allow-write"],
      ["--heatmap", "h.png", PNG],
      /^Cannot write a PNG: sharp does not load \(there is no --allow-ffi\)/,
    ],
  ];
  for (const [permissions, argv, message] of refused) {
    const result = await permitted(
      permissions,
      ...CLASSIFY,
      ...["--backend", "wasm"],
      ...argv,
    );
    assertFailsInOneLine(result, { code: 1, message });
  }
});

Deno.test("doctor says that pictures are decoded in JavaScript, and what differs", async () => {
  const { code, stdout, stderr } = await permitted(
    ["--allow-read", "--allow-env", "--allow-sys"],
    "doctor",
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^sharp +does not load: there is no --allow-ffi$/m);
  assert.match(stdout, /^pictures +in JavaScript: .* 18 levels.*$/m);
  assert.match(stdout, /^openslide +not found: .*run with --allow-ffi/m);
  const whole = await succeed(folder, "doctor");
  assert.doesNotMatch(whole.stdout, /in JavaScript/);
});
