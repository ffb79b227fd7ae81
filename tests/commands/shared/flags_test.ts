import assert from "node:assert/strict";
import { join } from "node:path";
import {
  COMMON_FLAGS,
  parseForeground,
  SHARED_MEMORY,
} from "../../../lib/commands/shared/common_flags.ts";
import {
  defaulting,
  type FlagValues,
  fraction,
  integer,
  number,
  oneOf,
  parseFlags,
  required,
  text,
  texts,
  toggle,
  usageText,
} from "../../../lib/commands/shared/flags.ts";
import { withFolder } from "../../data/folder.ts";
import { UsageError } from "../../../lib/errors.ts";

const FLAGS = {
  count: integer("N", "how many", { min: 2, max: 10 }),
  size: number("PX", "how large", { min: 0.5, max: 64 }),
  share: fraction("SHARE", "how much"),
  name: text("NAME", "how it is called"),
  set: texts("KEY=VALUE", "one value"),
  way: oneOf(["seeded", "topN"] as const, "NAME", "how to draw"),
  seed: defaulting(integer("N", "seed (0)"), 0),
  json: toggle("print JSON"),
  samples: COMMON_FLAGS.samples,
  backend: COMMON_FLAGS.backend,
  memory: SHARED_MEMORY,
};

function flags(...argv: string[]): FlagValues<typeof FLAGS> {
  return parseFlags(argv, FLAGS).values;
}

/** Checks that `argv` is refused in one line. */
function refuses(argv: readonly string[], message: RegExp): void {
  assert.throws(
    () => flags(...argv),
    (error: Error) =>
      error instanceof UsageError && message.test(error.message) &&
      !error.message.includes("\n"),
    argv.join(" "),
  );
}

Deno.test("flags have values by kind, and none where they are absent", () => {
  const given = flags(
    ...["--count", "7", "--name=a=b", "--set", "x=1", "--set", "y=2"],
    ...["--json", "--backend", "wasm", "--samples", "4096", "--seed", "3"],
  );
  assert.deepEqual({ ...given }, {
    count: 7,
    size: undefined,
    share: undefined,
    name: "a=b",
    set: ["x=1", "y=2"],
    way: undefined,
    seed: 3,
    json: true,
    samples: 4096,
    backend: "wasm",
    memory: undefined,
  });
  const none = flags();
  assert.equal(none.json, false);
  assert.deepEqual(none.set, []);
  assert.equal(none.backend, "auto");
  assert.equal(none.seed, 0);
});

Deno.test("of a flag that is given twice the last counts", () => {
  assert.equal(flags("--count", "3", "--json", "--count", "4").count, 4);
});

Deno.test("a bound on memory has a unit and is not too small", () => {
  const bytes = (text: string) => flags(`--memory=${text}`).memory!.bytes;
  assert.equal(bytes("512MB"), 512e6);
  assert.equal(bytes("1.5 GB"), 1.5e9);
  assert.equal(bytes("256MiB"), 2 ** 28);
  for (const text of ["512", "63MB", "MB", "-1GB", "512mb", "1e9MB"]) {
    refuses([`--memory=${text}`], /--memory must be 64MB or more/);
  }
});

Deno.test("the foreground is a word or what a file holds", async () => {
  await withFolder(async (folder) => {
    const mask = join(folder, "none"), polygons = join(folder, "outline");
    await Deno.writeTextFile(polygons, '\n {"type": "FeatureCollection"}');
    await Deno.writeTextFile(mask, "\x89PNG");
    assert.deepEqual(await parseForeground("none"), { kind: "none" });
    assert.deepEqual(await parseForeground("tissue"), { kind: "tissue" });
    assert.deepEqual(await parseForeground(mask), { kind: "mask", path: mask });
    assert.deepEqual(await parseForeground(polygons), {
      kind: "polygons",
      path: polygons,
    });
    assert.equal(await parseForeground(undefined), undefined);
    await assert.rejects(
      parseForeground(join(folder, "missing")),
      /^ImageError: Cannot read the foreground .*missing: no such file$/,
    );
  });
});

Deno.test("arguments that are no flags are refused unless allowed", () => {
  refuses(["a.png"], /'a\.png'/);
  const { positionals } = parseFlags(["a.png", "--", "--b.png"], FLAGS, {
    positionals: true,
  });
  assert.deepEqual(positionals, ["a.png", "--b.png"]);
});

Deno.test("unknown flags, missing values and empty ones are refused by name", () => {
  refuses(["--cuont", "1"], /--cuont: did you mean --count\?$/);
  refuses(["--elsewhere", "1"], /no flag --elsewhere: --help lists/);
  refuses(["--count"], /'--count/);
  refuses(["--count", "--name", "n"], /Cannot take --count without a value/);
  refuses(["--size", "-1"], /--size .*begins with a dash: write --size=VALUE$/);
  refuses(["--json=yes"], /'--json'/);
  refuses(["--name="], /--name is empty/);
  assert.throws(
    () => parseFlags([], { name: required(FLAGS.name) }),
    { message: "Missing flag: give --name NAME" },
  );
});

Deno.test("integers are whole numbers within their range", () => {
  for (const text of ["2", "10", "007"]) {
    assert.equal(flags("--count", text).count, Number(text));
  }
  for (const text of ["1", "11", "2.0", "1e1", "0x5", " 5", "five", "∞"]) {
    refuses(
      ["--count", text],
      new RegExp(`--count .*\\[2, 10\\], not "${text}"$`),
    );
  }
  // It would be rounded.
  refuses(["--seed", "9007199254740993"], /--seed .*\[0, 9007199254740991\]/);
});

Deno.test("numbers are within their range, both ends included", () => {
  for (const text of ["0.5", "64", "1e1"]) {
    assert.equal(flags("--size", text).size, Number(text));
  }
  for (const text of ["0.4", "65", " ", "NaN", "many"]) {
    refuses([`--size=${text}`], /--size .*\[0\.5, 64\]/);
  }
});

Deno.test("fractions are numbers in [0, 1)", () => {
  for (const text of ["0", "0.25", ".5", "1e-3"]) {
    assert.equal(flags("--share", text).share, Number(text));
  }
  for (const text of ["1", "-0.1", " ", "NaN", "half", "20%"]) {
    refuses([`--share=${text}`], /--share .*\[0/);
  }
});

Deno.test("choices are one of the words", () => {
  assert.equal(flags("--way", "topN").way, "topN");
  for (const text of ["topn", "seeded ", "toString"]) {
    refuses(["--way", text], /--way .*seeded or topN, not "/);
  }
});

Deno.test("a usage text has a line a flag, wrapped at 80 characters", () => {
  const usage = usageText({
    synopsis: ["deno task x IN"],
    positionals: { IN: "a file" },
    groups: [
      { flags: { name: FLAGS.name, json: FLAGS.json } },
      { title: "more", flags: { foreground: COMMON_FLAGS.foreground } },
    ],
    notes: "Exit code 1.",
  });
  assert.equal(
    usage,
    `deno task x IN

  IN                 a file
  --name NAME        how it is called
  --json             print JSON

more
  --foreground WHAT  area to examine: none (everywhere), tissue, or a file: a
                     mask image, white in the area, or GeoJSON polygons
                     (view.foreground of the configuration)

Exit code 1.`,
  );
});
