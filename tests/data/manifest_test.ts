import assert from "node:assert/strict";
import { join } from "node:path";
import { type Manifest, readManifest } from "../../lib/data/manifest.ts";
import { DataError } from "../../lib/errors.ts";
import { sharedData } from "../shared_data.ts";
import { withFolder, writeImages } from "./folder.ts";

/** Reads a manifest of `text`; images a.png, b.png and c.png exist. */
async function read(
  text: string | Uint8Array,
  options?: { classes: string[] },
): Promise<Manifest> {
  return await withFolder(async (folder) => {
    await writeImages(folder, ["a.png", "b.png", "c.png"]);
    const path = join(folder, "manifest.csv");
    const bytes = typeof text === "string"
      ? new TextEncoder().encode(text)
      : text;
    await Deno.writeFile(path, bytes);
    return await readManifest(path, options);
  });
}

/** The lines of the error for `text`, without the folder. */
async function faultsOf(
  text: string | Uint8Array,
  options?: { classes: string[] },
): Promise<string[]> {
  try {
    await read(text, options);
  } catch (error) {
    assert.ok(error instanceof DataError, String(error));
    return error.message.split("\n").map((line) =>
      line.replace(/^\S*\/(?=manifest\.csv)/, "")
    );
  }
  assert.fail("no fault was found");
}

Deno.test("readManifest reads every column, in any order", async () => {
  const { entries: [entry], folder } = await read(
    "label,mpp,image,group,fold,site,split\ncat,0.25,a.png,p1,3,Bonn,validation\n",
  );
  assert.deepEqual(entry, {
    image: "a.png",
    path: join(folder, "a.png"),
    label: "cat",
    classIndex: 0,
    split: "validation",
    fold: 3,
    group: "p1",
    site: "Bonn",
    mpp: 0.25,
    manifest: join(folder, "manifest.csv"),
    line: 2,
  });
});

Deno.test("readManifest takes a BOM, CRLF, quotes, blanks and blank lines", async () => {
  const { entries } = await read(
    '\ufeffimage,label\r\n"a.png","x, ""y"""\r\n\r\n b.png , x\r\n',
  );
  assert.deepEqual(
    entries.map(({ image, label, line }) => [image, label, line]),
    [["a.png", 'x, "y"', 2], ["b.png", "x", 4]],
  );
});

Deno.test("readManifest takes the words of published splits", async () => {
  const { entries } = await read(
    "image,label,split\na.png,x,train\nb.png,x,valid\nc.png,y,val\n",
  );
  assert.deepEqual(entries.map(({ split }) => split), [
    "train",
    "validation",
    "validation",
  ]);
});

Deno.test("readManifest sorts integer classes as numbers, others by code unit", async () => {
  const numbers = await read("image,label\na.png,10\nb.png,9\nc.png,-1\n");
  assert.deepEqual(numbers.classes, ["-1", "9", "10"]);
  assert.deepEqual(numbers.entries.map((e) => e.classIndex), [2, 1, 0]);
  const words = await read("image,label\na.png,b\nb.png,10\nc.png,9\n");
  assert.deepEqual(words.classes, ["10", "9", "b"]);
});

Deno.test("readManifest keeps URLs as they are", async () => {
  const { entries } = await read("image,label\nhttps://h.org/a.tif,x\n");
  assert.equal(entries[0]!.path, "https://h.org/a.tif");
});

Deno.test("readManifest holds labels against the classes of a checkpoint", async () => {
  const classes = ["z", "x"];
  const text = "image,label\na.png,x\nb.png,y\n";
  assert.deepEqual(await faultsOf(text, { classes }), [
    'manifest.csv:3: label "y" is not a class of the checkpoint: its classes are z, x',
  ]);
  const good = await read("image,label\na.png,x\n", { classes });
  assert.deepEqual(good.classes, classes);
  assert.equal(good.entries[0]!.classIndex, 1);
});

const FAULTS: [name: string, text: string, ...lines: RegExp[]][] = [
  [
    "an unknown column",
    "image,label,splt\na.png,x,train\n",
    /^manifest\.csv:1: unknown column "splt": did you mean "split"\?$/,
  ],
  [
    "a table of a program that writes semicolons",
    "image;label\na.png;x\n",
    /^manifest\.csv:1: missing column "image"/,
    /missing column "label"/,
    /^manifest\.csv:1: put commas between the columns$/,
  ],
  [
    "a missing column",
    "image,fold\na.png,1\n",
    /^manifest\.csv:1: missing column "label"/,
  ],
  [
    "a column that appears twice",
    "image,label,label\na.png,x,y\n",
    /^manifest\.csv:1: column "label" appears twice/,
  ],
  [
    "an empty label",
    "image,label\na.png,x\nb.png,\n",
    /^manifest\.csv:3: empty label/,
  ],
  [
    "an empty split",
    "image,label,split\na.png,x,\n",
    /^manifest\.csv:2: empty split/,
  ],
  [
    "a missing file",
    "image,label\na.png,x\nnone.png,x\n",
    /^manifest\.csv:3: image "none.png" is not a file/,
  ],
  [
    "a folder as image",
    "image,label\n.,x\n",
    /^manifest\.csv:2: image "\." is not a file/,
  ],
  [
    "a duplicate image",
    "image,label\na.png,x\nb.png,x\n./a.png,y\n",
    /^manifest\.csv:4: image ".\/a.png" is on line 2 too/,
  ],
  [
    "a bad split word",
    "image,label,split\na.png,x,trian\n",
    /^manifest\.csv:2: split is "trian": write train, validation or test$/,
  ],
  [
    "an inherited name as split",
    "image,label,split\na.png,x,constructor\n",
    /^manifest\.csv:2: split is "constructor"/,
  ],
  [
    "a bad fold",
    "image,label,fold\na.png,x,1.5\nb.png,x,-1\n",
    /^manifest\.csv:2: fold is "1.5"/,
    /^manifest\.csv:3: fold is "-1"/,
  ],
  [
    "a bad mpp",
    "image,label,mpp\na.png,x,0\nb.png,x,tiny\nc.png,x,500\n",
    /^manifest\.csv:2: mpp is "0"/,
    /^manifest\.csv:3: mpp is "tiny"/,
    /^manifest\.csv:4: mpp is "500": write a number from 0\.01 to 100 um per px$/,
  ],
  [
    "a wrong number of fields",
    "image,label\na.png,x,train\nb.png\n",
    /^manifest\.csv:2: 3 fields where the header names 2/,
    /^manifest\.csv:3: 1 field where the header names 2/,
  ],
  [
    "a quote inside a field",
    'image,label\na.png,x "y"\n',
    /^manifest\.csv:2: a quote is opened inside a field: quote the whole/,
  ],
  [
    "a quote that is never closed before a megabyte",
    `image,label\na.png,"${"x\n".repeat(2 ** 20)}`,
    /^manifest\.csv:2: a record has more than 1048576 characters: a quote is/,
  ],
  [
    "a file that is no table, without showing it",
    "user:secret,one\nmpp,2\n",
    /^manifest\.csv:1: missing column "image": name it in the header$/,
    /^manifest\.csv:1: missing column "label": name it in the header$/,
  ],
  ["no rows", "image,label\n", /^manifest\.csv:1: no rows/],
  ["no header", "", /manifest\.csv:1: .*without a header/],
  [
    "an unclosed quote",
    'image,label\na.png,x\nb.png,"y\nc.png,x\n',
    /^manifest\.csv:3: a quote is opened and never closed/,
  ],
  [
    "text after a quote",
    'image,label\na.png,"x"y\n',
    /^manifest\.csv:2: a field goes on behind its closing quote: quote the whole/,
  ],
  [
    "a missing table of objects",
    "image,label,rois\na.png,x,none.csv\n",
    /^manifest\.csv:2: the rois of image ".*" are not a file$/,
  ],
  [
    "a table of objects on a server",
    "image,label,rois\na.png,x,https://h.org/a.csv\n",
    /^manifest\.csv:2: rois is "https:\/\/h\.org\/a\.csv": fetch it, and write the path/,
  ],
];

for (const [name, text, ...lines] of FAULTS) {
  Deno.test(`readManifest names ${name} by its line`, async () => {
    const found = await faultsOf(text);
    assert.equal(found.length, lines.length, found.join("\n"));
    for (const [i, line] of lines.entries()) assert.match(found[i]!, line);
  });
}

Deno.test("readManifest leaves the user's own columns alone, and notes them", async () => {
  // "AGE" is two letters from "image", "MSI" two from "mpp", "size" one from "site".
  const { entries: [entry], notes } = await read(
    "AGE,image,MSI,label,size,AGE\n61,a.png,high,x,II,62\n",
  );
  assert.equal(entry!.label, "x");
  assert.deepEqual(Object.keys(entry!).filter((key) => /age|msi/i.test(key)), [
    "image",
  ]);
  assert.equal(notes.length, 1);
  assert.match(notes[0]!, /: columns that are not read: AGE, MSI, size, AGE$/);
  const { notes: none } = await read("image,label\na.png,x\n");
  assert.deepEqual(none, []);
});

Deno.test("readManifest reports faults of all kinds together, by line", async () => {
  const found = await faultsOf(
    "image,label,fold\na.png,x,one\nnone.png,,1\nb.png,x\n",
  );
  assert.deepEqual(found.map((line) => line.split(":")[1]), ["2", "3", "4"]);
});

Deno.test("readManifest lists 20 faults and counts the rest", async () => {
  const rows = Array.from({ length: 25 }, (_, i) => `none${i}.png,x`);
  const found = await faultsOf(["image,label", ...rows].join("\n"));
  assert.equal(found.length, 21);
  assert.equal(found.at(-1), "and 5 more");
});

Deno.test("readManifest refuses a file that is not UTF-8, or is not there", async () => {
  const utf16 = new Uint8Array([0xff, 0xfe, 0x69, 0, 0x6d, 0]);
  assert.match((await faultsOf(utf16))[0]!, /is not UTF-8/);
  await assert.rejects(
    readManifest("/no/such/manifest.csv"),
    /Cannot read "\/no\/such\/manifest.csv" as a table: there is no such file/,
  );
});

Deno.test("readManifest finds many files by their folder, and links one by one", async () => {
  await withFolder(async (folder) => {
    const names = Array.from({ length: 40 }, (_, i) => `${i}.png`);
    await writeImages(folder, names);
    await Deno.symlink(join(folder, "0.png"), join(folder, "link.png"));
    await Deno.symlink(join(folder, "none"), join(folder, "dead.png"));
    await Deno.mkdir(join(folder, "folder.png"));
    const path = join(folder, "manifest.csv");
    const table = async (more: string[]) =>
      await Deno.writeTextFile(
        path,
        ["image,label", ...[...names, ...more].map((name) => `${name},x`)]
          .join("\n"),
      );
    await table(["link.png"]);
    assert.equal((await readManifest(path)).entries.length, 41);
    await table(["dead.png", "folder.png", "missing.png"]);
    await assert.rejects(readManifest(path), {
      message:
        /^.*:42: image "dead\.png" is not a file.*\n.*:43: image "folder\.png" is not a file.*\n.*:44: image "missing\.png" is not a file[^\n]*$/,
    });
  });
});

Deno.test("readManifest looks at some hundred files at a time", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "manifest.csv");
    const rows = Array.from({ length: 1000 }, (_, i) => `${i}.png,x`);
    await Deno.writeTextFile(path, ["image,label", ...rows].join("\n"));
    let now = 0, most = 0;
    const { entries } = await readManifest(path, {
      async isFile() {
        most = Math.max(most, ++now);
        await Promise.resolve();
        now--;
        return true;
      },
    });
    assert.equal(entries.length, 1000);
    assert.equal(most, 256);
  });
});

Deno.test("readManifest refuses a file too large for a table unread", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "slide.tif");
    await Deno.writeFile(path, new Uint8Array());
    await Deno.truncate(path, 2 ** 32); // holes
    await assert.rejects(
      readManifest(path),
      /slide\.tif" as a table: it has 4294967296 bytes; at most 268435456 are read$/,
    );
  });
});

for (const [name, images] of [["colon", 100], ["gtsdb", 132]] as const) {
  const path = sharedData(name, "manifest.csv");
  Deno.test({
    name: `readManifest reads the manifest of ${name}`,
    ignore: path === undefined,
    async fn() {
      assert.equal((await readManifest(path!)).entries.length, images);
    },
  });
}
