/**
 * `deno task pyramid`: convert an image to a tiled pyramid.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { openImage } from "../image/open.ts";
import { writePyramid } from "../image/tiff/write/pyramid_writer.ts";
import { blockCompression, COMPRESSION_FLAGS } from "./shared/compression.ts";
import { parseFlags, parsing, toggle, type Usage } from "./shared/flags.ts";
import { checkApart, checkOutputFile } from "./shared/outputs.ts";
import { duration, interruptSignal, ProgressLine } from "./shared/terminal.ts";

export const summary = "Convert an image to a tiled pyramid";

const DEFAULT_TILE = 256; // px

// For pictures without levels: a conversion may take time and disk.
const MAX_PIXELS = 2 ** 36;

const FLAGS = {
  ...COMPRESSION_FLAGS,
  tile: parsing(
    "PX",
    `width and height of its blocks, a multiple of 16 (${DEFAULT_TILE})`,
    "a multiple of 16 in [16, 4096]",
    tileSize,
  ),
  json: toggle("print the result as one JSON line"),
};

export const usage: Usage = {
  synopsis: ["deno task pyramid IN OUT.tif"],
  about:
    "Reads IN, a file or a URL, strip by strip and writes a tiled TIFF with levels that halve; BigTIFF if 4 GB are not enough. OUT.tif appears once it is complete.",
  groups: [{ flags: FLAGS }],
  operands: { paths: "files" },
};

/**
 * Converts the image that `argv` names; Ctrl-C leaves no partial file.
 *
 * @throws {UsageError} If an argument is wrong.
 * @throws {ImageError} If the image cannot be read.
 */
export async function run(argv: string[]): Promise<number> {
  const { values: flags, positionals } = parseFlags(argv, FLAGS, {
    positionals: true,
  });
  const [input, out, extra] = positionals;
  if (input === undefined || out === undefined || extra !== undefined) {
    throw new UsageError("Two arguments are needed: IN and OUT.tif");
  }
  checkOutputFile(out, out);
  await checkApart([out], [input]);
  const options = {
    compression: blockCompression(flags),
    blockSize: flags.tile ?? DEFAULT_TILE,
  };
  const started = performance.now();
  const signal = interruptSignal();
  const line = new ProgressLine();
  const image = await openImage(input, { signal, maxPixels: MAX_PIXELS });
  try {
    const levels = await writePyramid(out, image, {
      ...options,
      signal,
      onProgress: (done, total) => line.count(done, total, "rows"),
    });
    const { size: bytes } = await Deno.stat(out);
    const { width, height } = image;
    const seconds = Math.round(performance.now() - started) / 1000;
    const result = { out, width, height, levels, bytes, seconds };
    line.clear();
    console.log(
      flags.json
        ? JSON.stringify(result)
        : `${out}: ${width} x ${height} px in ${levels.length} levels, ${bytes} bytes, in ${
          duration(seconds)
        }`,
    );
    return 0;
  } finally {
    line.clear();
    image.close();
  }
}

function tileSize(text: string): number | undefined {
  const size = Number(text);
  const isSize = /^\d+$/.test(text) && size >= 16 && size <= 4096 &&
    size % 16 === 0;
  return isSize ? size : undefined;
}
