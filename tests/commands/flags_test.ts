import assert from "node:assert/strict";
import { join } from "node:path";
import { Flags, LOOK_FLAGS } from "../../lib/commands/flags.ts";
import { withFolder } from "../data/folder.ts";
import { UsageError } from "../../lib/errors.ts";

const OPTIONS = {
  count: { type: "string" },
  name: { type: "string" },
  set: { type: "string", multiple: true },
  json: { type: "boolean" },
  backend: { type: "string" },
  samples: { type: "string" },
  ...LOOK_FLAGS,
} as const;

function flags(...args: string[]): Flags {
  return new Flags(args, OPTIONS);
}

/** Checks that `read` fails in one line. */
function refuses(read: () => unknown, message: RegExp): void {
  assert.throws(
    read,
    (error: Error) =>
      error instanceof UsageError && message.test(error.message) &&
      !error.message.includes("\n"),
  );
}

Deno.test("flags are read by kind, and undefined where they are absent", () => {
  const given = flags(
    ...["--count", "7", "--name=a=b", "--set", "x=1", "--set", "y=2"],
    ...["--json", "--backend", "wasm", "--samples", "4096"],
  );
  assert.equal(given.integer("count"), 7);
  assert.equal(given.text("name"), "a=b");
  assert.equal(given.required("name", "NAME"), "a=b");
  assert.deepEqual(given.texts("set"), ["x=1", "y=2"]);
  assert.equal(given.has("json"), true);
  assert.equal(given.backend(), "wasm");
  assert.equal(given.samples(), 4096);

  const none = flags();
  assert.equal(none.integer("count"), undefined);
  assert.equal(none.fraction("count"), undefined);
  assert.equal(none.oneOf("name", ["a"]), undefined);
  assert.equal(none.text("name"), undefined);
  assert.deepEqual(none.texts("set"), []);
  assert.equal(none.has("json"), false);
  assert.equal(none.backend(), "auto");
  assert.equal(none.samples(), undefined);
  assert.deepEqual(none.positionals, []);
});

Deno.test("a bound on memory has a unit and is not too small", () => {
  assert.equal(flags("--memory", "512MB").memory()!.bytes, 512e6);
  assert.equal(flags("--memory", "1.5 GB").memory()!.bytes, 1.5e9);
  assert.equal(flags("--memory=256MiB").memory()!.bytes, 2 ** 28);
  assert.equal(flags().memory(), undefined);
  for (const text of ["512", "63MB", "MB", "-1GB", "512mb", "1e9MB"]) {
    refuses(() => flags(`--memory=${text}`).memory(), /must be 64MB or more/);
  }
});

Deno.test("the foreground is a word or what a file holds", async () => {
  await withFolder(async (folder) => {
    const mask = join(folder, "none"), polygons = join(folder, "outline");
    await Deno.writeTextFile(polygons, '\n {"type": "FeatureCollection"}');
    await Deno.writeTextFile(mask, "\x89PNG");
    const given = (what: string) => flags("--foreground", what).foreground();
    assert.deepEqual(await given("none"), { kind: "none" });
    assert.deepEqual(await given("tissue"), { kind: "tissue" });
    assert.deepEqual(await given(mask), { kind: "mask", path: mask });
    assert.deepEqual(await given(polygons), {
      kind: "polygons",
      path: polygons,
    });
    assert.equal(await flags().foreground(), undefined);
    await assert.rejects(
      given(join(folder, "missing")),
      /^ImageError: Cannot read the foreground .*missing: no such file$/,
    );
  });
});

Deno.test("arguments that are no flags are refused unless allowed", () => {
  refuses(() => flags("a.png"), /'a\.png'/);
  const { positionals } = new Flags(["a.png", "--", "--b.png"], OPTIONS, {
    positionals: true,
  });
  assert.deepEqual(positionals, ["a.png", "--b.png"]);
});

Deno.test("unknown flags, missing values and empty ones are refused by name", () => {
  refuses(() => flags("--cuont", "1"), /--cuont: did you mean --count\?$/);
  refuses(() => flags("--size", "1"), /--size: there is no such flag/);
  refuses(() => flags("--count"), /'--count/);
  refuses(() => flags("--count", "--name", "n"), /'--count'/);
  refuses(() => flags("--json=yes"), /'--json'/);
  refuses(() => flags("--name=").text("name"), /--name as empty/);
  refuses(() => flags("--name=").required("name", "N"), /--name as empty/);
  refuses(() => flags().required("name", "NAME"), /without --name NAME/);
});

Deno.test("integers are whole numbers within their range", () => {
  const range = { least: 2, most: 10 };
  for (const text of ["2", "10", "007"]) {
    assert.equal(flags("--count", text).integer("count", range), Number(text));
  }
  for (const text of ["1", "11", "2.0", "1e1", "0x5", " 5", "five", "∞"]) {
    refuses(
      () => flags("--count", text).integer("count", range),
      new RegExp(`--count .*\\[2, 10\\]: current value is "${text}"$`),
    );
  }
  refuses(
    () => flags("--count", "9007199254740993").integer("count"),
    /--count .*\[0, 9007199254740991\]/, // it would be rounded
  );
});

Deno.test("numbers are within their range, both ends included", () => {
  const range = { least: 0.5, most: 64 };
  for (const text of ["0.5", "64", "1e1"]) {
    assert.equal(flags("--count", text).number("count", range), Number(text));
  }
  for (const text of ["0.4", "65", " ", "NaN", "many"]) {
    refuses(
      () => flags(`--count=${text}`).number("count", range),
      /--count .*\[0\.5, 64\]/,
    );
  }
  assert.equal(flags().number("count", range), undefined);
});

Deno.test("fractions are numbers in [0, 1)", () => {
  for (const text of ["0", "0.25", ".5", "1e-3"]) {
    assert.equal(flags("--count", text).fraction("count"), Number(text));
  }
  for (const text of ["1", "-0.1", " ", "NaN", "half", "20%"]) {
    refuses(() => flags(`--count=${text}`).fraction("count"), /--count .*\[0/);
  }
});

Deno.test("choices are one of the words", () => {
  const words = ["seeded", "topN"] as const;
  assert.equal(flags("--name", "topN").oneOf("name", words), "topN");
  for (const text of ["topn", "seeded ", "toString"]) {
    refuses(
      () => flags("--name", text).oneOf("name", words),
      /--name .*seeded or topN: current value is/,
    );
  }
});
