/** Features kept on disk: what they are of, the bound, damage, two processes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  FeatureCache,
  featureKey,
  type FeatureSource,
  imageContent,
} from "../../lib/encoder/cache.ts";
import { openImage } from "../../lib/image/open.ts";
import { withFolder } from "../data/folder.ts";
import { bmpFile } from "../image/bmp_files.ts";
import { serveFile } from "../image/file_server.ts";
import { SyntheticPyramid } from "../image/synthetic_pyramid.ts";

const SOURCE: FeatureSource = {
  image: "image",
  encoder: "encoder",
  places: [{ x: 1, y: 2.5 }, { x: 3, y: 4 }],
};
const FEATURES = Float32Array.of(1, -0.5, 0, 1 / 3);
const ROUNDED = Float32Array.from(new Float16Array(FEATURES));

function never(): Promise<Float32Array> {
  throw new Error("it was kept");
}

const made = (features: Float32Array) => () => Promise.resolve(features);

async function files(folder: string): Promise<string[]> {
  const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
  return names.sort();
}

Deno.test("features are kept as float16, and the same before", async () => {
  await withFolder(async (folder) => {
    const inside = join(folder, "not", "yet");
    const first = new FeatureCache(inside, 1e6);
    assert.deepEqual(await first.features(SOURCE, made(FEATURES)), ROUNDED);
    const second = new FeatureCache(inside, 1e6);
    assert.deepEqual(await second.features(SOURCE, never), ROUNDED);
    const [name, ...others] = await files(inside);
    assert.equal(name, `${featureKey(SOURCE)}.features`);
    assert.deepEqual(others, []);
    const { size } = await Deno.stat(join(inside, name));
    assert.equal(size, 44 + 2 * FEATURES.length);
  });
});

Deno.test("features beyond float16 are kept as they are", async () => {
  await withFolder(async (folder) => {
    const large = Float32Array.of(1e6, 1 / 3);
    const cache = new FeatureCache(folder, 1e6);
    await cache.features(SOURCE, made(large));
    assert.deepEqual(await cache.features(SOURCE, never), large);
  });
});

Deno.test("the key is of everything that features are made of", () => {
  const sources: FeatureSource[] = [
    SOURCE,
    { ...SOURCE, image: "other" },
    { ...SOURCE, encoder: "other" },
    { ...SOURCE, copy: "1" },
    { ...SOURCE, places: SOURCE.places.slice(1) },
    { ...SOURCE, places: [...SOURCE.places].reverse() },
  ];
  assert.equal(new Set(sources.map(featureKey)).size, sources.length);
  assert.equal(featureKey(SOURCE), featureKey({ ...SOURCE, copy: "" }));
});

Deno.test("an entry that is cut, changed or gone is made anew", async () => {
  await withFolder(async (folder) => {
    const cache = new FeatureCache(folder, 1e6);
    await cache.features(SOURCE, made(FEATURES));
    const path = join(folder, `${featureKey(SOURCE)}.features`);
    const whole = await Deno.readFile(path);
    const damages: (() => Promise<void>)[] = [
      () => Deno.writeFile(path, whole.subarray(0, whole.length - 1)),
      () => Deno.writeFile(path, whole.subarray(0, 10)),
      () => Deno.writeFile(path, new Uint8Array(0)),
      () =>
        Deno.writeFile(path, whole.map((byte, i) => i === 50 ? ~byte : byte)),
      () =>
        Deno.writeFile(path, whole.map((byte, i) => i === 0 ? ~byte : byte)),
      () => Deno.writeFile(path, whole.map((byte, i) => i === 4 ? 9 : byte)),
      () => Deno.remove(path),
    ];
    for (const damage of damages) {
      await damage();
      let asked = 0;
      const again = await cache.features(SOURCE, () => {
        asked++;
        return Promise.resolve(FEATURES);
      });
      assert.equal(asked, 1, damage.toString());
      assert.deepEqual(again, ROUNDED);
      assert.deepEqual(await cache.features(SOURCE, never), ROUNDED);
    }
  });
});

Deno.test("the least recently used are removed beyond the bound", async () => {
  await withFolder(async (folder) => {
    const size = 44 + 2 * 100;
    const cache = new FeatureCache(folder, 4 * size);
    const source = (i: number) => ({ ...SOURCE, copy: `${i}` });
    const many = new Float32Array(100);
    const path = (i: number) =>
      join(folder, `${featureKey(source(i))}.features`);
    for (let i = 0; i < 4; i++) {
      await cache.features(source(i), made(many));
      await Deno.utime(path(i), i, i); // seconds of 1970
    }
    await cache.features(source(0), never); // the latest
    await Deno.writeTextFile(join(folder, "mine.txt"), "not a feature");
    await cache.features(source(4), made(many));
    const left = await files(folder);
    assert.equal(left.length, 4); // 3 of at most 3.6, and the text
    for (const i of [0, 3, 4]) {
      assert.ok(left.some((name) => path(i).endsWith(name)), `${i}`);
    }
    const huge = new FeatureCache(join(folder, "none"), size - 1);
    assert.equal((await huge.features(source(5), made(many))).length, 100);
    await assert.rejects(Deno.stat(join(folder, "none")), Deno.errors.NotFound);
  });
});

Deno.test("what this run has used is not removed for what it still reads", async () => {
  await withFolder(async (folder) => {
    const size = 44 + 2 * 100;
    const remarks: string[] = [];
    const open = () =>
      new FeatureCache(folder, 4 * size, (text) => remarks.push(text));
    const source = (i: number) => ({ ...SOURCE, copy: `${i}` });
    const many = new Float32Array(100);
    const first = open();
    let asked = 0;
    for (let fold = 0; fold < 3; fold++) {
      for (let i = 0; i < 6; i++) {
        await first.features(source(i), () => {
          asked++;
          return made(many)();
        });
      }
    }
    assert.equal(asked, 4 + 3 * 2); // the first four are found
    assert.equal((await files(folder)).length, 4);
    assert.deepEqual(remarks, [
      `The features of this run are more than the ${
        4 * size / 1e9
      } GB of ${folder}: those that do not fit are computed each time`,
    ]);
    // A later run removes them, but what it has used itself.
    for (const name of await files(folder)) {
      await Deno.utime(join(folder, name), 1, 1);
    }
    const second = open();
    await second.features(source(2), never);
    for (const i of [7, 8]) await second.features(source(i), made(many));
    for (const i of [2, 7, 8]) await second.features(source(i), never);
    assert.equal(remarks.length, 1);
  });
});

Deno.test("a file that cannot be read or replaced costs its features alone", async () => {
  await withFolder(async (folder) => {
    const remarks: string[] = [];
    const cache = new FeatureCache(folder, 1e6, (text) => remarks.push(text));
    for (const copy of ["a", "b"]) {
      const source = { ...SOURCE, copy };
      await Deno.mkdir(join(folder, `${featureKey(source)}.features`, "x"), {
        recursive: true,
      });
      for (let twice = 0; twice < 2; twice++) {
        assert.deepEqual(await cache.features(source, made(FEATURES)), ROUNDED);
      }
    }
    await cache.features(SOURCE, made(FEATURES));
    await cache.features(SOURCE, never); // others are kept
    assert.equal(remarks.length, 1);
    assert.match(
      remarks[0]!,
      /^Some features are computed each time, because /,
    );
    assert.doesNotMatch(remarks[0]!, /\n/);
  });
});

const keptBefore = Deno.makeTempDirSync();
Deno.test.beforeAll(async () => {
  await new FeatureCache(keptBefore, 1e6).features(SOURCE, made(FEATURES));
});
Deno.test.afterAll(() => Deno.remove(keptBefore, { recursive: true }));

Deno.test({
  name: "features are found where the time of their use cannot be written",
  permissions: { read: true, write: false },
  async fn() {
    const remarks: string[] = [];
    const cache = new FeatureCache(
      keptBefore,
      1e6,
      (text) => remarks.push(text),
    );
    assert.deepEqual(await cache.features(SOURCE, never), ROUNDED);
    assert.equal(remarks.length, 1);
    // Nor can others be written.
    const other = { ...SOURCE, copy: "other" };
    assert.deepEqual(await cache.features(other, made(FEATURES)), ROUNDED);
    assert.equal(remarks.length, 1);
  },
});

Deno.test("what a crash has left is removed, not what is being written", async () => {
  await withFolder(async (folder) => {
    const names = ["old", "new"].map((name) => `.${name}.features.x.tmp`);
    for (const name of names) await Deno.writeTextFile(join(folder, name), "");
    await Deno.utime(join(folder, names[0]!), 0, 0);
    await new FeatureCache(folder, 1e6).features(SOURCE, made(FEATURES));
    const left = await files(folder);
    assert.ok(!left.includes(names[0]!));
    assert.ok(left.includes(names[1]!));
  });
});

Deno.test("two that write the same into a full folder are both right", async () => {
  await withFolder(async (folder) => {
    const caches = [0, 1].map(() => new FeatureCache(folder, 3 * 60));
    const use = async (cache: FeatureCache) => {
      for (let i = 0; i < 100; i++) {
        const source = { ...SOURCE, copy: `${i % 7}` };
        const features = await cache.features(source, made(FEATURES));
        assert.deepEqual(features, ROUNDED);
      }
    };
    await Promise.all(caches.map(use));
    const left = await files(folder);
    assert.ok(left.every((name) => name.endsWith(".features")));
  });
});

Deno.test("features asked for twice at once are made once", async () => {
  await withFolder(async (folder) => {
    const cache = new FeatureCache(folder, 1e6);
    let asked = 0;
    const make = () => {
      asked++;
      return Promise.resolve(FEATURES);
    };
    await Promise.all([0, 1, 2].map(() => cache.features(SOURCE, make)));
    assert.equal(asked, 1);
    const failing = () => Promise.reject(new Error("no image"));
    const other = { ...SOURCE, copy: "x" };
    await assert.rejects(cache.features(other, failing), /no image/);
    await cache.features(other, made(FEATURES));
  });
});

Deno.test("an image is known by its bytes, not by its name", async () => {
  await withFolder(async (folder) => {
    const picture = (value: number) =>
      bmpFile({
        width: 4,
        height: -4,
        bits: 24,
        rows: Array.from({ length: 48 }, () => value),
      });
    const content = async (name: string) => {
      const image = await openImage(join(folder, name));
      try {
        return await imageContent(image);
      } finally {
        image.close();
      }
    };
    await Deno.writeFile(join(folder, "a.bmp"), picture(1));
    await Deno.writeFile(join(folder, "b.bmp"), picture(1));
    await Deno.writeFile(join(folder, "c.bmp"), picture(2));
    const [a, b, c] = await Promise.all(
      ["a.bmp", "b.bmp", "c.bmp"].map(content),
    );
    assert.equal(a, b);
    assert.notEqual(a, c);
    await Deno.writeFile(join(folder, "a.bmp"), picture(2));
    await Deno.utime(join(folder, "a.bmp"), 1e9, 1e9);
    assert.equal(await content("a.bmp"), c);
  });
});

Deno.test("an image on a server is known by its ETag, or not at all", async () => {
  const black = () => 0;
  const rows = Array.from({ length: 48 }, black);
  const file = bmpFile({ width: 4, height: -4, bits: 24, rows });
  const twice = async (etag: string | null) => {
    await using server = await serveFile(file, { etag });
    const contents: string[] = [];
    for (let time = 0; time < 2; time++) {
      const image = await openImage(server.url);
      contents.push(await imageContent(image));
      image.close();
    }
    return { contents, requests: server.ranges.length };
  };
  const { contents: [one, again], requests } = await twice('"a"');
  assert.equal(one, again);
  assert.equal(requests, 2); // it is not asked for again to be known
  assert.match(one!, /http/);
  const { contents: [first, second] } = await twice(null);
  assert.notEqual(first, second);
});

Deno.test("an image that is not there is named", async () => {
  const image = new SyntheticPyramid({ width: 4, height: 4 }, [1], () => [
    0,
    0,
    0,
  ]);
  await assert.rejects(imageContent(image), /no such file/);
});
