import assert from "node:assert/strict";
import { join } from "node:path";
import sharp from "sharp";
import { withFolder } from "../data/folder.ts";
import { pageMetadata } from "../image/tiff_pages.ts";
import {
  assertFailsInOneLine,
  outcome,
  start,
  succeed,
  zoomin,
} from "./process.ts";
import { eventually } from "../waiting.ts";

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

/** Waits until a hidden file appears in `folder`: the work has begun. */
async function whenBegun(folder: string): Promise<void> {
  await eventually(
    "a hidden file is there",
    () => [...Deno.readDirSync(folder)].some(({ name }) => name[0] === "."),
  );
}

Deno.test("Ctrl-C leaves nothing half-written", async () => {
  await withFolder(async (folder) => {
    await writePicture(join(folder, "in.png"), 2500);
    const commands = [
      ["pyramid", "in.png", "out.tif", "--compression", "deflate"],
      ["dataset", "needle", "--out", "set", "--images", "5000"],
      [
        ...["dataset", "slide", "--out", "out.tif"],
        ...["--gigapixels", "16", "--distinct"],
      ],
    ];
    for (const argv of commands) {
      const process = start(folder, ...argv);
      await whenBegun(folder);
      process.kill("SIGINT"); // from the terminal
      await new Promise((resolve) => setTimeout(resolve, 10));
      try {
        process.kill("SIGINT"); // the same one, passed on by `deno task`
      } catch { /* it has stopped already */ }
      const { code, stdout, stderr } = await outcome(process);
      assert.deepEqual([code, stdout, stderr], [130, "", "Stopped\n"]);
      const left = [...Deno.readDirSync(folder)].map(({ name }) => name);
      assert.deepEqual(left, ["in.png"]);
    }
  });
});
