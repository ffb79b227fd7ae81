import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { withFolder } from "../data/folder.ts";
import { serveFile } from "../image/file_server.ts";
import { pageMetadata } from "../image/tiff_pages.ts";
import {
  assertFailsInOneLine,
  outcome,
  start,
  succeed,
  zoomin,
} from "./process.ts";
import { eventually, within } from "../waiting.ts";

async function writePicture(path: string, side: number): Promise<void> {
  const create = {
    width: side,
    height: side,
    channels: 3,
    background: "#c86428",
    noise: { type: "gaussian", mean: 120, sigma: 40 },
  } as const;
  await sharp({ create }).png({ compressionLevel: 1 }).toFile(path);
}

Deno.test("pyramid converts a PNG and says what it wrote", async () => {
  await withFolder(async (folder) => {
    await writePicture(join(folder, "in.png"), 1500);
    const { stdout } = await succeed(
      folder,
      ...["pyramid", "in.png", "out.tif", "--tile", "512", "--json"],
    );
    const { seconds, bytes, ...result } = JSON.parse(stdout);
    assert.ok(seconds > 0);
    assert.equal(bytes, Deno.statSync(join(folder, "out.tif")).size);
    assert.deepEqual(result, {
      out: "out.tif",
      width: 1500,
      height: 1500,
      levels: [{ width: 1500, height: 1500 }, { width: 750, height: 750 }],
    });
    assert.equal((await pageMetadata(join(folder, "out.tif"), 0)).pages, 2);
  });
});

Deno.test("pyramid refuses what is no image, and leaves nothing", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "in.png"), "no image");
    assertFailsInOneLine(await zoomin(folder, "pyramid", "in.png", "out.tif"), {
      code: 1,
      message: /^Cannot open in\.png as an image/,
    });
    assert.deepEqual([...Deno.readDirSync(folder)].length, 1);
  });
});

Deno.test("pyramid refuses to write where it reads, or in no folder", async () => {
  await withFolder(async (folder) => {
    await writePicture(join(folder, "in.png"), 64);
    await Deno.symlink(join(folder, "in.png"), join(folder, "same.tif"));
    const before = await Deno.readFile(join(folder, "in.png"));
    for (
      const [out, message] of [
        [
          "./in.png",
          /^Cannot write to \.\/in\.png: it is one of the input files/m,
        ],
        [
          "same.tif",
          /^Cannot write to same\.tif: it is one of the input files/m,
        ],
        [
          "no/out.tif",
          /^Cannot write no\/out\.tif: the folder no does not exist; /m,
        ],
      ] as const
    ) {
      const result = await zoomin(folder, "pyramid", "in.png", out);
      assertFailsInOneLine(result, { code: 2, message });
    }
    assert.deepEqual(await Deno.readFile(join(folder, "in.png")), before);
  });
});

/** A hidden file is in `folder`: the work has begun, and has not ended. */
function isHalfWritten(folder: string): boolean {
  return [...Deno.readDirSync(folder)].some(({ name }) => name[0] === ".");
}

/** Sends Ctrl-C in the midst of a command, of which nothing may be left. */
async function assertLeavesNothing(
  folder: string,
  argv: readonly string[],
): Promise<void> {
  const process = start(folder, ...argv);
  const ended = outcome(process);
  await eventually("the work has begun", () => isHalfWritten(folder));
  process.kill("SIGINT");
  const { code, stdout, stderr } = await within("it has stopped", ended);
  assert.deepEqual([code, stdout, stderr], [130, "", "Stopped\n"]);
  assert.deepEqual([...Deno.readDirSync(folder)], []);
}

Deno.test("Ctrl-C in the midst of a conversion leaves nothing half-written", async () => {
  const create = {
    width: 2500,
    height: 2500,
    channels: 3,
    background: "#c86428",
    noise: { type: "gaussian", mean: 120, sigma: 40 },
  } as const;
  const picture = await sharp({ create })
    .tiff({ tile: true, compression: "none" }).toBuffer();
  await withFolder(async (folder) => {
    // Its host falls silent once it is being written: it cannot end before.
    await using host = await serveFile(picture, {
      trouble: () => isHalfWritten(folder) ? { kind: "stall" } : undefined,
    });
    await assertLeavesNothing(folder, ["pyramid", host.url, "out.tif"]);
  });
});

for (
  const argv of [
    ["dataset", "needle", "--out", "set", "--images", "100000"],
    [
      ...["dataset", "slide", "--out", "out.tif"],
      ...["--gigapixels", "16", "--distinct"],
    ],
  ]
) {
  Deno.test(`Ctrl-C in the midst of ${argv[1]} leaves nothing half-written`, async () => {
    // Minutes of work, of which the first file is there at once.
    await withFolder((folder) => assertLeavesNothing(folder, argv));
  });
}
