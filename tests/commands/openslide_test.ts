/** OpenSlide out of wheels: bad ones are made here, the real one is fetched. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cp, readdir } from "node:fs/promises";
import { join } from "node:path";
import { strToU8, zipSync } from "fflate";
import {
  LIBRARY_NAMES,
  takeFromWheel,
  WheelError,
} from "../../lib/image/formats/openslide_library.ts";
import { withFolder } from "../data/folder.ts";
import { output, PYTHON_REQUIRED } from "../python.ts";
import { assertFailsInOneLine, ROOT, zoomin } from "./process.ts";

const NAME = `openslide_bin/${LIBRARY_NAMES[0]}`;
const LIBRARY = strToU8("no library");

function recordOf(library: Uint8Array): string {
  const hash = createHash("sha256").update(library).digest("base64url");
  return `openslide_bin/__init__.py,sha256=x,1\n${NAME},sha256=${hash},${library.length}\n`;
}

/** A wheel of these files. */
function wheelOf(files: Record<string, Uint8Array | string>): Uint8Array {
  const entries = Object.entries(files).map(([name, content]) =>
    [name, typeof content === "string" ? strToU8(content) : content] as const
  );
  return zipSync(Object.fromEntries(entries));
}

const RECORD = "openslide_bin-4.0.1.2.dist-info/RECORD";
const GOOD = wheelOf({ [NAME]: LIBRARY, [RECORD]: recordOf(LIBRARY) });

/** Takes the library of a wheel in a folder of its own. */
async function take(
  wheel: Uint8Array,
  check: (path: string) => string = () => "4.0.1",
): Promise<{ files: string[]; error?: Error }> {
  return await withFolder(async (place) => {
    const path = join(place, "a.whl");
    const folder = join(place, "taken");
    await Deno.writeFile(path, wheel);
    const error = await takeFromWheel(path, { folder, check })
      .then(() => undefined, (error) => error as Error);
    const files = (await readdir(place, { recursive: true })).sort();
    return { files, ...error && { error } };
  });
}

Deno.test("the library of a wheel is put in place once it is checked", async () => {
  let checked = "";
  const { files, error } = await take(GOOD, (path) => {
    checked = Deno.readTextFileSync(path);
    return "4.0.1";
  });
  assert.equal(error, undefined);
  assert.equal(checked, "no library");
  assert.deepEqual(files, ["a.whl", "taken", `taken/${LIBRARY_NAMES[0]}`]);
});

Deno.test("a wheel that is of no use is refused, and leaves nothing", async () => {
  const long = new Uint8Array(2 ** 27 + 1);
  const bad: [Uint8Array, RegExp][] = [
    [new Uint8Array(99), /it is no wheel/],
    [GOOD.subarray(0, GOOD.length - 30), /it is no wheel/],
    [wheelOf({ "a.py": "" }), /it has no openslide_bin\/.* for \w+ on \w+/],
    [wheelOf({ [NAME]: LIBRARY }), /it has no openslide_bin/],
    [
      wheelOf({ [NAME]: LIBRARY, [RECORD]: recordOf(strToU8("other")) }),
      /it is damaged: its library is not the one of its RECORD/,
    ],
    [
      wheelOf({ [NAME]: long, [RECORD]: recordOf(long) }),
      /it has no openslide/,
    ],
  ];
  for (const [wheel, message] of bad) {
    const { files, error } = await take(wheel);
    assert.ok(error instanceof WheelError, Deno.inspect(error));
    assert.match(error.message, /^Cannot take OpenSlide out of .*a\.whl: /);
    assert.match(error.message, message);
    assert.deepEqual(files, ["a.whl"]);
  }
  const { files, error } = await take(GOOD, () => {
    throw new Error("of another machine\nand more");
  });
  assert.match(error!.message, /does not load here \(of another machine\)/);
  assert.deepEqual(files, ["a.whl"]);
});

Deno.test("openslide says what is wrong with its arguments", async () => {
  await withFolder(async (folder) => {
    await Deno.writeFile(join(folder, "a.whl"), GOOD);
    const faults: [string[], number, RegExp][] = [
      [[], 2, /^Missing wheel: give one file/],
      [["a.whl", "b.whl"], 2, /^Missing wheel: give one file/],
      [["--to", "x"], 2, /no flag --to/],
      [["b.whl"], 1, /out of b\.whl: there is no such file/],
      [["."], 1, /it is not a file of at most 64 MiB/],
      [["a.whl"], 1, /its library does not load here/],
    ];
    for (const [argv, code, message] of faults) {
      const result = await zoomin(folder, "openslide", ...argv);
      assertFailsInOneLine(result, { code, message });
    }
  });
});

Deno.test("the wheel of PyPI reads slides, and doctor says so", {
  ignore: !PYTHON_REQUIRED, // needs ZOOMIN_REQUIRE_CLIENTS=1
}, async () => {
  await withFolder(async (folder) => {
    const download = ["-m", "pip", "download", "--quiet", "--no-deps"];
    await output("python3", [...download, "openslide-bin==4.0.1.2"], {
      cwd: folder,
    });
    const [wheel] = [...Deno.readDirSync(folder)].map(({ name }) => name);
    const code = join(folder, "code"); // the library is put beside it
    for (
      const name of [
        ...["main.ts", "deno.json", "deno.lock", "encoders.lock"],
        ...["kernels", "lib", "routes", "viewer"],
      ]
    ) {
      await cp(join(ROOT, name), join(code, name), { recursive: true });
    }
    const task = async (...argv: string[]) =>
      await output(Deno.execPath(), ["task", "--quiet", ...argv], {
        cwd: code,
      });
    const said = await task("openslide", join(folder, wheel!));
    assert.match(said, /^OpenSlide 4\.0\.1: .*\.openslide/);
    assert.match(await task("doctor"), /openslide +4\.0\.1 \(.*\.openslide/);
    const slide = join(ROOT, "fixtures/dicom/level0.dcm");
    await task("pyramid", slide, join(folder, "out.tif"));
    assert.ok((await Deno.stat(join(folder, "out.tif"))).size > 1000);
  });
});
