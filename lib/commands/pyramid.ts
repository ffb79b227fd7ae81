/**
 * `deno task pyramid`: convert an image to a tiled pyramid.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { openImage } from "../image/open.ts";
import { writePyramid } from "../image/pyramid_writer.ts";
import { blockCompression, COMPRESSION_USAGE } from "./compression.ts";
import { Flags } from "./flags.ts";
import { checkApart, checkOutputFile } from "./outputs.ts";
import { duration, interruptSignal, ProgressLine } from "./terminal.ts";

export const summary = "Convert an image to a tiled pyramid";

const DEFAULT_TILE = 256; // px

// Of a picture without levels: whoever converts one has the time and the disk.
const MAX_PIXELS = 2 ** 36;

export const usage = `deno task pyramid IN OUT.tif

Reads IN, a file or a URL, strip by strip and writes a tiled TIFF with levels
that halve; BigTIFF where 4 GB are not enough. OUT.tif appears when it is whole.

${COMPRESSION_USAGE}
  --tile PX       width and height of its blocks, a multiple of 16 (${DEFAULT_TILE})
  --json          print the result as one line of JSON`;

/**
 * Converts what `argv` names; Ctrl-C leaves nothing half-written.
 *
 * @throws {UsageError} If an argument is wrong.
 * @throws {ImageError} If the image cannot be read.
 */
export async function run(argv: string[]): Promise<number> {
  const flags = new Flags(argv, {
    compression: { type: "string" },
    quality: { type: "string" },
    tile: { type: "string" },
    json: { type: "boolean" },
  }, { positionals: true });
  const [input, out, extra] = flags.positionals;
  if (input === undefined || out === undefined || extra !== undefined) {
    throw new UsageError("Cannot convert without two names: IN and OUT.tif");
  }
  checkOutputFile(out, out);
  await checkApart([out], [input]);
  const options = {
    compression: blockCompression(flags),
    blockSize: tile(flags),
  };
  const started = performance.now();
  const signal = interruptSignal();
  const line = new ProgressLine();
  const image = await openImage(input, { signal, maxPixels: MAX_PIXELS });
  try {
    const levels = await writePyramid(out, image, {
      ...options,
      signal,
      onProgress: (done, total) => line.show(`${done}/${total} rows`),
    });
    const { size: bytes } = await Deno.stat(out);
    const { width, height } = image;
    const seconds = Math.round(performance.now() - started) / 1000;
    const result = { out, width, height, levels, bytes, seconds };
    line.clear();
    console.log(
      flags.has("json")
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

function tile(flags: Flags): number {
  const size = flags.integer("tile", { least: 16, most: 4096 }) ?? DEFAULT_TILE;
  if (size % 16 !== 0) {
    throw new UsageError(
      `Cannot take --tile as it must be a multiple of 16: current value is "${size}"`,
    );
  }
  return size;
}
