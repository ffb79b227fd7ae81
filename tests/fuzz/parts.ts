/**
 * Images of many objects, one of which is damaged: OME-Zarr, and the metadata
 * of DICOMweb.
 *
 * @module
 */
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readLevels } from "../../lib/image/dicomweb/metadata.ts";
import { openImage } from "../../lib/image/open.ts";
import { readCorners } from "./images.ts";
import { damaged, damagedText, textOf } from "./mutate.ts";
import { ends, type Target } from "./target.ts";

const FIXTURES = fileURLToPath(new URL("../../fixtures", import.meta.url));

/** OME-Zarr from its metadata to pixels; a case damages one of its files. */
export const zarr: Target = {
  name: "zarr",
  async open(folder) {
    const copy = join(folder, "zarr");
    await cp(join(FIXTURES, "zarr"), copy, { recursive: true });
    const paths = filesIn(copy).filter((path) => !path.endsWith(".py"));
    const files = paths.map((path) => Deno.readFileSync(path));
    return {
      // The number of the file comes first.
      input(random) {
        const at = random.below(paths.length);
        const isText = /json$|\.z[a-z]+$/.test(paths[at]!);
        const bytes = isText
          ? damagedText([textOf(files[at]!)], random)
          : damaged([files[at]!], random);
        return Uint8Array.from([at, ...bytes]);
      },
      async run(input) {
        const at = input[0]! % paths.length;
        const path = paths[at]!;
        const image = /^.*?\.zarr/.exec(path)![0];
        await Deno.writeFile(path, input.subarray(1));
        try {
          await ends(async () => {
            const opened = await openImage(image);
            try {
              await readCorners(opened);
            } finally {
              opened.close();
            }
          });
        } finally {
          await Deno.writeFile(path, files[at]!);
        }
      },
      async [Symbol.asyncDispose]() {},
    };
  },
};

/** The metadata of a series of DICOMweb. */
export const series: Target = {
  name: "series",
  async open() {
    const text = await Deno.readTextFile(join(FIXTURES, "dicom/metadata.json"));
    return {
      input: (random) => damagedText([text], random),
      async run(input) {
        let json: unknown;
        try {
          json = JSON.parse(textOf(input));
        } catch {
          return; // told by who fetched it
        }
        // deno-lint-ignore require-await
        await ends(async () => readLevels(json));
      },
      async [Symbol.asyncDispose]() {},
    };
  },
};

function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)]
    .sort((a, b) => a.name < b.name ? -1 : 1) // cases are numbers
    .flatMap(({ name, isDirectory }) =>
      isDirectory ? filesIn(join(folder, name)) : [join(folder, name)]
    );
}
