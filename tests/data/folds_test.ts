import assert from "node:assert/strict";
import { join } from "node:path";
import {
  foldSplit,
  makeFolds,
  splitEntries,
  validationPart,
  writeSplits,
} from "../../lib/data/folds.ts";
import { type ManifestEntry, readManifest } from "../../lib/data/manifest.ts";
import { DataError } from "../../lib/errors.ts";
import { randomKey, RandomStream } from "../../kernels/random.ts";
import { withFolder, writeImages } from "./folder.ts";

function entry(
  image: string,
  label: string,
  more: Partial<ManifestEntry> = {},
): ManifestEntry {
  const path = `/data/${image}`;
  return { image, path, label, classIndex: 0, manifest: "m", line: 2, ...more };
}

/** `counts[label]` images a label, without groups. */
function table(counts: Record<string, number>): ManifestEntry[] {
  return Object.entries(counts).flatMap(([label, n]) =>
    Array.from({ length: n }, (_, i) => entry(`${label}${i}.png`, label))
  );
}

/** A random table of 2-4 labels in groups of 1-4 images. */
function randomTable(seed: number): ManifestEntry[] {
  const random = new RandomStream(randomKey(seed));
  const labels = 2 + random.below(3);
  const entries: ManifestEntry[] = [];
  for (let g = 0; g < 60 + random.below(60); g++) {
    const size = 1 + random.below(4);
    for (let i = 0; i < size; i++) {
      const label = String(g < labels * 8 ? g % labels : random.below(labels));
      entries.push(entry(`${g}_${i}.png`, label, { group: `patient ${g}` }));
    }
  }
  return entries;
}

function tally<K>(items: Iterable<K>): Map<K, number> {
  const counts = new Map<K, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

const SEEDS = Array.from({ length: 20 }, (_, seed) => seed);

Deno.test("splitEntries keeps to the fractions in every class", () => {
  const entries = table({ a: 60, b: 30, c: 7 });
  const made = splitEntries(entries, { seed: 1, validation: 0.2, test: 0.1 });
  const counts = tally(made.map(({ label, split }) => `${label} ${split}`));
  assert.deepEqual(Object.fromEntries(counts), {
    "a train": 42,
    "a validation": 12,
    "a test": 6,
    "b train": 21,
    "b validation": 6,
    "b test": 3,
    "c train": 5,
    "c validation": 1,
    "c test": 1,
  });
});

Deno.test("makeFolds deals each class evenly, and folds are of one size", () => {
  for (const seed of SEEDS) {
    const made = makeFolds(table({ a: 23, b: 14 }), { folds: 5, seed });
    for (const label of ["a", "b"]) {
      const of = made.filter((e) => e.label === label).map((e) => e.fold);
      const sizes = [...tally(of).values()];
      assert.equal(sizes.length, 5);
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1, sizes.join());
    }
    const sizes = [...tally(made.map(({ fold }) => fold)).values()];
    assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1, sizes.join());
  }
});

Deno.test("groups stay whole, and classes near their share, on random tables", () => {
  for (const seed of SEEDS) {
    const entries = randomTable(seed);
    const made = makeFolds(entries, { folds: 4, seed });
    for (const group of Map.groupBy(made, ({ group }) => group).values()) {
      assert.equal(tally(group.map(({ fold }) => fold)).size, 1);
    }
    for (const [label, n] of tally(made.map(({ label }) => label))) {
      const of = made.filter((e) => e.label === label).map((e) => e.fold);
      for (const size of tally(of).values()) {
        assert.ok(Math.abs(size - n / 4) <= 4, `${seed}: ${size} of ${n}`);
      }
    }
  }
});

Deno.test("the parts do not depend on the order of the rows", () => {
  for (const seed of SEEDS) {
    for (const entries of [randomTable(seed), table({ a: 30, b: 12 })]) {
      const mixed = new RandomStream(randomKey(seed, 1)).shuffle([...entries]);
      const foldOf = (of: ManifestEntry[]) =>
        new Map(
          makeFolds(of, { folds: 3, seed })
            .map(({ image, fold }) => [image, fold] as const)
            .sort(([a], [b]) => (a < b ? -1 : 1)),
        );
      assert.deepEqual(foldOf(mixed), foldOf(entries));
    }
  }
});

Deno.test("large groups are placed first, while there is room to balance them", () => {
  const groups = { big: 3, one: 1, two: 1, three: 1 };
  const entries = Object.entries(groups).flatMap(([group, n]) =>
    Array.from({ length: n }, (_, i) => entry(`${group}${i}`, "a", { group }))
  );
  for (const seed of SEEDS) {
    const made = makeFolds(entries, { folds: 2, seed });
    assert.deepEqual(
      [...tally(made.map(({ fold }) => fold)).values()],
      [3, 3],
    );
  }
});

Deno.test("an image's path and a group of that name are not one group", () => {
  const [one, two] = [entry("1.png", "a"), entry("2.png", "a")];
  const made = makeFolds([one, { ...two, group: one.path }], {
    folds: 2,
    seed: 0,
  });
  assert.deepEqual(new Set(made.map(({ fold }) => fold)), new Set([1, 2]));
});

Deno.test("the folds of a table are the same in every version", () => {
  // A repeated study must use the same folds.
  const foldsOf = (seed: number) =>
    makeFolds(randomTable(seed), { folds: 4, seed })
      .slice(0, 60).map(({ fold }) => fold).join("");
  assert.deepEqual([0, 1, 2].map(foldsOf), [
    "222221144443333444442211433333444422222333443322223333331111",
    "111122222244433224444333332223344441334432224333444423332222",
    "442222244444444111222222211111223333244433331122111134413333",
  ]);
});

Deno.test("another seed makes other parts, of the same entries in their order", () => {
  const entries = table({ a: 20, b: 20 });
  const [one, two] = [1, 2].map((seed) =>
    splitEntries(entries, { seed, validation: 0.5 })
  );
  assert.notDeepEqual(one, two);
  assert.deepEqual(one!.map((e) => e.image), entries.map((e) => e.image));
});

Deno.test("validationPart cuts at least one image of each class", () => {
  const { train, validation } = validationPart(table({ a: 40, b: 2 }), {
    fraction: 0.1,
    seed: 3,
  });
  assert.equal(train.length + validation.length, 42);
  assert.deepEqual(
    Object.fromEntries(tally(validation.map(({ label }) => label))),
    { a: 4, b: 1 },
  );
});

Deno.test("foldSplit refuses a fold that leaves one class to train on", () => {
  const entries = [
    ...table({ a: 4 }).map((entry, i) => ({ ...entry, fold: i % 2 })),
    ...table({ b: 2 }).map((entry) => ({ ...entry, fold: 1 })),
  ];
  assert.equal(foldSplit(entries, 0).train.length, 4);
  assert.throws(
    () => foldSplit(entries, 1),
    (error: Error) =>
      error instanceof DataError &&
      /fold 1: all images of the other folds have the label "a"/
        .test(error.message),
  );
});

Deno.test("foldSplit tests on one fold and trains on the others", () => {
  const made = makeFolds(table({ a: 9, b: 9 }), { folds: 3, seed: 0 });
  const { train, test } = foldSplit(made, 2);
  assert.equal(train.length, 12);
  assert.ok(test.every(({ fold }) => fold === 2));
  assert.throws(() => foldSplit(made, 4), /the manifest's folds are 1, 2, 3/);
  assert.throws(() => foldSplit(table({ a: 2 }), 1), /has no column "fold"/);
  assert.throws(() => foldSplit(test, 2), /no image is left to train on/);
});

Deno.test("a class with too few groups is named", () => {
  assert.throws(
    () => makeFolds(table({ a: 9, rare: 2 }), { folds: 3, seed: 0 }),
    (error) =>
      error instanceof DataError &&
      /3 parts .*: class "rare" has only 2 groups of images/
        .test(error.message),
  );
  const onePatient = table({ a: 4 }).map((e) => ({ ...e, group: "p" }));
  assert.throws(
    () => validationPart(onePatient, { fraction: 0.5, seed: 0 }),
    /class "a" has only 1 group of images/,
  );
});

Deno.test("fractions and numbers of folds out of range are refused", () => {
  const entries = table({ a: 9 });
  for (const validation of [-0.1, 1, NaN]) {
    assert.throws(
      () => splitEntries(entries, { seed: 0, validation }),
      RangeError,
    );
  }
  assert.throws(() => makeFolds(entries, { folds: 1, seed: 0 }), RangeError);
});

/** Sites of 1-30 images in groups of 1-3, each with a rate of its own of 3 labels. */
function siteTable(seed: number, sites: number): ManifestEntry[] {
  const random = new RandomStream(randomKey(seed, 4));
  const entries: ManifestEntry[] = [];
  for (let s = 0; s < sites; s++) {
    const rate = random.below(100);
    const images = 3 + random.below(28);
    for (let i = 0; i < images; i++) {
      const label = i < 3
        ? ["a", "b", "c"][i]!
        : random.below(100) < rate
        ? "a"
        : "bc"[random.below(2)]!;
      const group = `patient ${s}.${Math.floor(i / (1 + random.below(3)))}`;
      entries.push(
        entry(`${s}_${i}.png`, label, { group, site: `site ${s}` }),
      );
    }
  }
  return entries;
}

/** Sum over folds and labels of (images - wanted)^2 / wanted. */
function distance(made: readonly ManifestEntry[], folds: number): number {
  const totals = tally(made.map(({ label }) => label));
  const counts = tally(made.map(({ label, fold }) => `${label} ${fold}`));
  let sum = 0;
  for (const [label, n] of totals) {
    for (let fold = 1; fold <= folds; fold++) {
      const wanted = Math.max(1, n / folds);
      sum += ((counts.get(`${label} ${fold}`) ?? 0) - wanted) ** 2 / wanted;
    }
  }
  return sum;
}

Deno.test("sites held out are in one fold each, on random tables, and no exchange is better", () => {
  for (const seed of SEEDS) {
    const folds = 2 + seed % 4;
    const entries = siteTable(seed, 12 + seed);
    const made = makeFolds(entries, { folds, seed, sites: "held-out" });
    const siteFolds = new Map(made.map(({ site, fold }) => [site!, fold!]));
    for (const { site, fold } of made) assert.equal(siteFolds.get(site!), fold);
    const least = distance(made, folds) - 1e-6;
    const placed = (folds: Map<string, number>) =>
      made.map((entry) => ({ ...entry, fold: folds.get(entry.site!)! }));
    for (const [site, fold] of siteFolds) {
      for (let other = 1; other <= folds; other++) {
        const moved = placed(new Map([...siteFolds, [site, other]]));
        assert.ok(distance(moved, folds) >= least, `${site} to ${other}`);
      }
      for (const [second, other] of siteFolds) {
        const exchanged = placed(
          new Map([...siteFolds, [site, other], [second, fold]]),
        );
        assert.ok(distance(exchanged, folds) >= least, `${site}, ${second}`);
      }
    }
  }
});

Deno.test("sites held out are about as even as they can be", () => {
  const ratios = SEEDS.map((seed) => {
    const entries = siteTable(seed, 9);
    const made = makeFolds(entries, { folds: 2, seed, sites: "held-out" });
    const sites = [...new Set(entries.map(({ site }) => site))];
    let best = Infinity;
    for (let bits = 0; bits < 2 ** (sites.length - 1); bits++) {
      best = Math.min(
        best,
        distance(
          entries.map((entry) => ({
            ...entry,
            fold: 1 + ((bits >> sites.indexOf(entry.site)) & 1),
          })),
          2,
        ),
      );
    }
    // A distance of 0.2 is that of 2 images of 40 in the wrong fold.
    return distance(made, 2) - best;
  });
  assert.ok(ratios.every((more) => more < 0.5), `${ratios}`);
  assert.ok(ratios.filter((more) => more < 1e-6).length >= 10, `${ratios}`);
});

Deno.test("balanced sites are in all folds, each label of each evenly", () => {
  for (const seed of SEEDS) {
    const folds = 2 + seed % 4;
    const entries = siteTable(seed, 10)
      .map(({ group: _, ...entry }) => entry);
    const made = makeFolds(entries, { folds, seed, sites: "balanced" });
    const spread = (key: (entry: ManifestEntry) => string) => {
      const counts = tally(made.map((entry) => `${key(entry)}|${entry.fold}`));
      return Math.max(
        ...new Set(made.map(key)).values().map((name) => {
          const own = Array.from(
            { length: folds },
            (_, i) => counts.get(`${name}|${i + 1}`) ?? 0,
          );
          return Math.max(...own) - Math.min(...own);
        }),
      );
    };
    assert.ok(spread(({ site, label }) => `${site} ${label}`) <= 1);
    assert.ok(spread(({ label }) => label) <= 4);
  }
});

Deno.test("folds by site tear no group, and depend on the seed alone", () => {
  for (const sites of ["held-out", "balanced"] as const) {
    for (const seed of SEEDS) {
      const options = { folds: 3, seed, sites };
      const entries = siteTable(seed, 15);
      // Patients who were seen at two sites.
      const shared = entries.map((entry, i) =>
        i % 40 === 0 ? { ...entry, group: `patient of ${i % 3}` } : entry
      );
      const made = makeFolds(shared, options);
      const folds = new Map(made.map(({ group, fold }) => [group, fold]));
      for (const { group, fold } of made) {
        assert.equal(folds.get(group), fold);
      }
      if (sites === "held-out") {
        const ofSites = new Map(made.map(({ site, fold }) => [site, fold]));
        for (const { site, fold } of made) {
          assert.equal(ofSites.get(site), fold);
        }
      }
      const turned = makeFolds(shared.toReversed(), options).toReversed();
      assert.deepEqual(turned, made);
    }
  }
});

Deno.test("sites that are missing, or too few, are named", () => {
  const entries = siteTable(1, 8);
  const bare = { ...entries[5]!, line: 7 };
  delete bare.site;
  assert.throws(
    () =>
      makeFolds([...entries, bare], { folds: 2, seed: 0, sites: "balanced" }),
    {
      name: "DataError",
      message:
        'Cannot make folds by site: 1 image of m has no site, the first on line 7; fill in the column "site", or name another with --site-column',
    },
  );
  assert.throws(
    () => makeFolds(siteTable(1, 3), { folds: 4, seed: 0, sites: "held-out" }),
    { name: "DataError", message: /class "a" has only 3 sites; make fewer/ },
  );
});

Deno.test("writeSplits writes a manifest that reads back the same", async () => {
  await withFolder(async (folder) => {
    await Deno.mkdir(join(folder, "made"));
    await writeImages(folder, ["a, b.png", 'c"d.png', "e.png", "f.png"]);
    const path = join(folder, "manifest.csv");
    await Deno.writeTextFile(
      path,
      'image,label,group,site,mpp\n"a, b.png",x,p 1,Bonn,0.5\n"c""d.png",y,,,\n' +
        "e.png,x,,,\nf.png,y,,,\n",
    );
    const { entries } = await readManifest(path);
    const made = makeFolds(
      splitEntries(entries, { seed: 0, validation: 0.5 }),
      { folds: 2, seed: 0 },
    );
    const written = join(folder, "made", "splits.csv");
    await writeSplits(written, made);
    const again = await readManifest(written);
    const essence = ({ image: _, manifest: __, ...rest }: ManifestEntry) =>
      rest;
    assert.deepEqual(again.entries.map(essence), made.map(essence));
    assert.equal(again.entries[0]!.image, "../a, b.png");
  });
});
