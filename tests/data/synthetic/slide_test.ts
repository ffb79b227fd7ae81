import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type SlideFile,
  writeSlide,
} from "../../../lib/data/synthetic/slide.ts";
import {
  isTissue,
  planSlide,
  SLIDE_DEFAULTS,
  type SlideOptions,
} from "../../../lib/data/synthetic/slide_plan.ts";
import { readManifest } from "../../../lib/data/manifest.ts";
import { readRois } from "../../../lib/data/rois.ts";
import { ConfigError } from "../../../lib/errors.ts";
import { halve, type Rgb } from "../../../lib/image/pyramids/rgb.ts";
import { pageMetadata, readPage } from "../../image/tiff_pages.ts";
import { withFolder } from "../folder.ts";

const SLIDE: SlideOptions = {
  ...SLIDE_DEFAULTS,
  gigapixels: 0.02,
  positive: true,
  clusters: 6,
};
const LOSSLESS: SlideFile = {
  compression: { kind: "deflate" },
  distinct: false,
};

function assertSamePixels(found: Rgb, expected: Rgb, what: string): void {
  assert.deepEqual(
    [found.width, found.height],
    [expected.width, expected.height],
  );
  const wrong = found.data.findIndex((value, i) => value !== expected.data[i]);
  assert.equal(wrong, -1, what);
}

Deno.test("each level of a slide is the mean of the one before, everywhere", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "slide.tif");
    const { levels, width } = await writeSlide(path, SLIDE, { file: LOSSLESS });
    assert.equal((await pageMetadata(path, 0)).pages, levels);
    let above = await readPage(path, 0);
    assert.equal(above.width, width);
    for (let level = 1; level < levels; level++) {
      const found = await readPage(path, level);
      assertSamePixels(found, halve(above), `level ${level}`);
      above = found;
    }
    assert.ok(above.width < 1024);
  });
});

Deno.test("objects lie where the regions say, and the rest repeats", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "slide.tif");
    const written = await writeSlide(path, SLIDE, { file: LOSSLESS });
    const manifest = await readManifest(written.manifest);
    const [entry] = manifest.entries;
    assert.deepEqual([entry!.label, entry!.mpp], ["positive", 0.25]);
    const objects = await (await readRois(manifest))!.of(entry!);
    assert.equal(objects.length, written.objects);
    const kinds = Map.groupBy(objects, ({ type }) => type);
    assert.deepEqual([...kinds.keys()].sort(), ["lookalike", "needle"]);

    const empty = join(folder, "empty.tif"); // a cluster of one, elsewhere
    await writeSlide(empty, { ...SLIDE, clusters: 1, objects: 1 }, {
      file: LOSSLESS,
    });
    const spot = planSlide({ ...SLIDE, clusters: 1, objects: 1 }).objects;
    for (const object of objects) {
      const { x, y, width, height } = object;
      if (spot.some((o) => Math.hypot(o.left - x, o.top - y) < 99)) continue;
      const drawn = await readPage(path, 0, { x, y, width, height });
      const bare = await readPage(empty, 0, { x, y, width, height });
      const changed = drawn.data.filter((v, i) => v < bare.data[i]! - 20);
      assert.ok(changed.length > 0.3 * drawn.data.length, "half of it is ink");
    }
    // Beside every object, at the distance of its cluster, nothing was drawn.
    const plan = planSlide(SLIDE);
    const glass = plan.tissue.indexOf(0);
    const cell = plan.side / plan.cells;
    const corner = {
      x: glass % plan.cells * cell,
      y: Math.floor(glass / plan.cells) * cell,
    };
    const white = await readPage(path, 0, { ...corner, width: 9, height: 9 });
    assert.deepEqual([...white.data.subarray(0, 3)], [243, 243, 244]);
  });
});

Deno.test("one seed, one slide; another seed or class, another one", async () => {
  await withFolder(async (folder) => {
    const bytes = async (name: string, options: Partial<SlideOptions>) => {
      const path = join(folder, name);
      await writeSlide(path, { ...SLIDE, ...options }, { file: LOSSLESS });
      return Deno.readFileSync(path);
    };
    const first = await bytes("a.tif", {});
    assert.deepEqual(await bytes("b.tif", {}), first);
    assert.notDeepEqual(await bytes("c.tif", { seed: 1 }), first);
    assert.notDeepEqual(await bytes("d.tif", { positive: false }), first);
  });
});

Deno.test("blocks stored for themselves show the same pixels", async () => {
  await withFolder(async (folder) => {
    const shared = join(folder, "a.tif"), distinct = join(folder, "b.tif");
    const { bytes } = await writeSlide(shared, SLIDE, { file: LOSSLESS });
    const other = await writeSlide(distinct, SLIDE, {
      file: { ...LOSSLESS, distinct: true },
    });
    assert.ok(other.bytes > 3 * bytes, `${other.bytes} and ${bytes} bytes`);
    for (let level = 0; level < other.levels; level++) {
      assertSamePixels(
        await readPage(distinct, level),
        await readPage(shared, level),
        `level ${level}`,
      );
    }
  });
});

Deno.test("16 gigapixels take a few megabytes", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "slide.tif");
    const written = await writeSlide(path, { ...SLIDE, gigapixels: 16 }, {
      file: { compression: { kind: "jpeg", quality: 85 }, distinct: false },
    });
    const pixels = written.width * written.height;
    assert.ok(Math.abs(pixels / 16e9 - 1) < 0.04, `${pixels} px`);
    assert.ok(written.bytes < 20e6, `${written.bytes} bytes`);
    assert.equal((await pageMetadata(path, 0)).width, written.width);
    const last = await readPage(path, written.levels - 1);
    assert.ok(last.width < 1024);
  });
});

Deno.test("a plan: all objects in tissue, all sizes halve evenly", () => {
  for (const gigapixels of [0.001, 0.05, 0.25, 1, 4, 16, 64]) {
    for (let seed = 0; seed < 5; seed++) {
      const options = { ...SLIDE, clusters: 1, gigapixels, seed };
      const { objects, ...plan } = planSlide(options);
      for (const { left, top, diameter } of objects) {
        for (const [dx, dy] of [[0, 0], [diameter, 0], [0, diameter]]) {
          assert.ok(isTissue(plan, { x: left + dx!, y: top + dy! }));
        }
      }
      let side = plan.side;
      while (side >= 1024) {
        assert.equal(side % 2, 0, `${plan.side} px`);
        side /= 2;
      }
      const share = plan.tissue.reduce((a, b) => a + b) / plan.tissue.length;
      assert.ok(share > 0.05 && share < 0.9, `tissue: ${share}`);
    }
  }
});

Deno.test("clusters that do not fit are refused, and a signal leaves nothing", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "slide.tif");
    const crowded = { ...SLIDE, gigapixels: 0.001, clusters: 500 };
    await assert.rejects(
      writeSlide(path, crowded, { file: LOSSLESS }),
      (error: Error) =>
        error instanceof ConfigError && /^Cannot place/.test(error.message),
    );
    const stop = new AbortController();
    const writing = writeSlide(path, SLIDE, {
      file: LOSSLESS,
      signal: stop.signal,
      onProgress: () => stop.abort(new Error("stopped")),
    });
    await assert.rejects(writing, /stopped/);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });
});
