/**
 * The layers of the code, enforced: who may import whom, who may touch the GPU
 * and who may speak to the user. ARCHITECTURE tells why.
 */
import assert from "node:assert/strict";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

// Files that every layer may use.
const BASE = [
  "lib/errors.ts",
  "lib/files.ts",
  "lib/memory.ts",
  "lib/nearest.ts",
  "lib/target.ts",
  "lib/turn.ts",
  "lib/words.ts",
];

/** Folders and files that a folder or file may import from, besides its own. */
const LAYERS: Record<string, string[]> = {
  "kernels": [],
  "lib/errors.ts": [],
  "lib/files.ts": ["lib/errors.ts"],
  "lib/nearest.ts": [],
  "lib/memory.ts": [],
  "lib/target.ts": [],
  "lib/turn.ts": [],
  "lib/words.ts": [],
  "lib/engine": ["kernels", ...BASE],
  "lib/image": ["kernels", ...BASE],
  "lib/data": ["kernels", "lib/image", ...BASE],
  "lib/sampling": ["kernels", ...BASE],
  "lib/encoder": ["kernels", "lib/engine", "lib/image", ...BASE],
  "lib/model": [
    "kernels",
    "lib/encoder",
    "lib/engine",
    "lib/image",
    "lib/sampling",
    ...BASE,
  ],
  "lib/eval": [
    "kernels",
    "lib/data",
    "lib/image",
    "lib/model",
    "lib/sampling",
    ...BASE,
  ],
  "lib/train": [
    "kernels",
    "lib/data",
    "lib/encoder",
    "lib/engine",
    "lib/eval",
    "lib/image",
    "lib/model",
    "lib/sampling",
    "lib/workers", // that share a run
    ...BASE,
  ],
  "lib/study": [
    "lib/data",
    "lib/encoder",
    "lib/eval",
    "lib/image",
    "lib/model",
    "lib/train",
    ...BASE,
  ],
  "lib/report": [
    "lib/data",
    "lib/eval",
    "lib/image",
    "lib/model",
    "lib/study",
    "lib/train",
    ...BASE,
  ],
  "lib/workers": [...BASE],
  "lib/serve": [
    "kernels",
    "lib/data", // batches and runs are tables
    "lib/engine",
    "lib/eval",
    "lib/image",
    "lib/model",
    "lib/report", // of the runs that jobs train
    "lib/train", // jobs train, in a Worker of the server's own
    "lib/workers",
    "deno.json", // the version, of which workers tell
    ...BASE,
  ],
  "routes": ["lib/serve", "lib/errors.ts", "deno.json"], // the version
  // Runs in browsers: documents of the server, and colours.
  "viewer": ["lib/serve/documents.ts", "lib/eval/heatmap/viridis.ts"],
  "lib/client.ts": ["lib/serve", "routes"], // their types
  "lib/mod.ts": ["lib"], // the library's door
  "lib/commands": ["kernels", "lib", "routes"],
  "main.ts": ["lib/commands", "routes", "lib/errors.ts"],
};

/** A source file of ours, by its path from the root. */
interface Source {
  path: string;
  /** Without comments. */
  code: string;
}

/** One import in a source file. */
interface Import {
  from: string;
  to: string;
}

/** All .ts files of the product. */
async function readSources(): Promise<Source[]> {
  const sources: Source[] = [];
  for (const top of ["kernels", "lib", "routes", "viewer", "main.ts"]) {
    for (const path of await filesIn(join(ROOT, top))) {
      if (!path.endsWith(".ts") || path.endsWith("_test.ts")) continue;
      sources.push({
        path: relative(ROOT, path),
        code: withoutComments(await Deno.readTextFile(path)),
      });
    }
  }
  return sources;
}

async function filesIn(path: string): Promise<string[]> {
  const info = await Deno.stat(path).catch(() => undefined);
  if (!info) return []; // no such layer yet
  if (info.isFile) return [path];
  const entries = await Array.fromAsync(Deno.readDir(path));
  const inside = entries.map(({ name }) => filesIn(join(path, name)));
  return (await Promise.all(inside)).flat();
}

const STRING = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/.source;
const TEMPLATE = /`(?:\\.|[^`\\])*`/.source;
const COMMENT = /\/\/[^\n]*|\/\*[\s\S]*?\*\//.source;

function withoutComments(text: string): string {
  const pattern = new RegExp(`${STRING}|${TEMPLATE}|${COMMENT}`, "g");
  return text.replace(pattern, (part) => part.startsWith("/") ? " " : part);
}

function withoutStrings(code: string): string {
  return code.replace(new RegExp(`${STRING}`, "g"), '""');
}

/** The imports of our own files, static and dynamic, and re-exports. */
function importsOf({ path, code }: Source): Import[] {
  const imports: Import[] = [];
  const statement =
    /\b(?:import|export)\s+(?:[\w*{}\s,$]+?\sfrom\s*)?"(\.[^"]+)"/g;
  const dynamic = /\bimport\(\s*"(\.[^"]+)"\s*\)/g;
  for (const pattern of [statement, dynamic]) {
    for (const [, target] of code.matchAll(pattern)) {
      imports.push({ from: path, to: resolved(path, target!) });
    }
  }
  return imports;
}

function resolved(path: string, target: string): string {
  return join(dirname(path), target);
}

/** The layer of a file; the longest name that fits. */
function layerOf(path: string): string | undefined {
  return Object.keys(LAYERS).find((layer) => isIn(path, layer));
}

function isIn(path: string, layer: string): boolean {
  return path === layer || path.startsWith(`${layer}/`);
}

/** Imports that break the layers, in words. */
function brokenLayers(sources: readonly Source[]): string[] {
  return sources.flatMap((source) => {
    const layer = layerOf(source.path);
    if (layer === undefined) return [`${source.path} is in no layer`];
    return importsOf(source)
      .filter(({ to }) =>
        ![layer, ...LAYERS[layer]!].some((allowed) => isIn(to, allowed))
      )
      .map(({ from, to }) => `${from} imports ${to}`);
  });
}

/**
 * One cycle of imports, if there is any; types count, as readers follow them.
 */
function findCycle(sources: readonly Source[]): string[] | undefined {
  const graph = new Map(
    sources.map((source) => [
      source.path,
      importsOf(source).map(({ to }) => to),
    ]),
  );
  const done = new Set<string>();
  const visit = (path: string, trail: string[]): string[] | undefined => {
    if (trail.includes(path)) {
      return [...trail.slice(trail.indexOf(path)), path];
    }
    if (done.has(path)) return undefined;
    for (const next of graph.get(path) ?? []) {
      const cycle = visit(next, [...trail, path]);
      if (cycle) return cycle;
    }
    done.add(path);
    return undefined;
  };
  for (const path of graph.keys()) {
    const cycle = visit(path, []);
    if (cycle) return cycle;
  }
  return undefined;
}

/** Files outside `allowed` whose code, strings aside, matches `pattern`. */
function mentions(
  sources: readonly Source[],
  pattern: RegExp,
  allowed: readonly string[],
): string[] {
  return sources
    .filter(({ path }) => !allowed.some((layer) => isIn(path, layer)))
    .filter(({ code }) => pattern.test(withoutStrings(code)))
    .map(({ path }) => path);
}

const GPU = /\bGPU(Buffer|Device)\b/;
const USER = /\bconsole\s*\.|\bDeno\s*\.\s*(args|exit)\b/;
const ANY = /[:<|&,]\s*any\b|\bas\s+any\b/;

const sources = await readSources();

Deno.test("every import keeps to its layer", () => {
  assert.ok(sources.length > 50);
  assert.ok(sources.flatMap(importsOf).length > 200);
  assert.deepEqual(brokenLayers(sources), []);
});

Deno.test("every import names a file that exists", async () => {
  for (const { from, to } of sources.flatMap(importsOf)) {
    const info = await Deno.stat(join(ROOT, to)).catch(() => undefined);
    assert.ok(info?.isFile, `${from} imports ${to}`);
  }
});

Deno.test("no imports go round in a circle", () => {
  assert.equal(findCycle(sources), undefined);
});

Deno.test("only kernels and the engine touch GPU buffers and devices", () => {
  assert.deepEqual(mentions(sources, GPU, ["kernels", "lib/engine"]), []);
});

Deno.test("only the commands print, read arguments or exit", () => {
  assert.deepEqual(mentions(sources, USER, ["lib/commands", "main.ts"]), []);
});

Deno.test("nothing is of type any", () => {
  assert.deepEqual(mentions(sources, ANY, []), []);
});

Deno.test("one module loads sharp, and only when it is asked for", () => {
  const loads = /import\s+(?!type\b)[^;]*from "sharp"|import\("sharp"\)/;
  const found = sources.filter(({ code }) =>
    loads.test(code.replaceAll('typeof import("sharp")', ""))
  );
  assert.deepEqual(found.map(({ path }) => path), [
    "lib/image/formats/libvips.ts",
  ]);
  assert.doesNotMatch(found[0]!.code, /from "sharp"/);
});

Deno.test("one module loads onnxruntime, by a name that Deno cannot see", () => {
  const found = sources.filter(({ code }) => /"(npm:)?onnxruntime-/.test(code));
  assert.deepEqual(found.map(({ path }) => path), [
    "lib/encoder/onnx/runtime.ts",
  ]);
  assert.doesNotMatch(found[0]!.code, /import\(\s*(["']|`[^`$]*`)/);
  assert.doesNotMatch(found[0]!.code, /from "(npm:)?onnxruntime/);
});

/** A source file as if it had been read. */
function source(path: string, text: string): Source {
  return { path, code: withoutComments(text) };
}

Deno.test("these tests find violations", () => {
  const upward = [
    source("lib/image/x.ts", 'import { y } from "../model/y.ts";'),
    source("kernels/x.ts", 'import "../lib/errors.ts";'),
    source("lib/eval/x.ts", 'export type { T } from "../train/t.ts";'),
    source("lib/model/x.ts", 'const m = await import("../data/z.ts");'),
    source(
      "lib/sampling/x.ts",
      'import {\n  a,\n  type b,\n} from\n "../model/y.ts";',
    ),
    source("routes/x.ts", 'import * as m from "../lib/model/z.ts";'),
    source("main.ts", 'import d, { e } from "./lib/train/t.ts";'),
    source("elsewhere.ts", ""),
  ];
  assert.equal(brokenLayers(upward).length, upward.length);
  const fine = [
    source("lib/model/x.ts", 'import { y } from "../image/y.ts";'),
    source("lib/model/y.ts", '// import { y } from "../train/y.ts";'),
    source("lib/commands/x.ts", 'import { y } from "../train/y.ts";'),
    source("kernels/x.ts", 'import * as tf from "@tensorflow/tfjs-core";'),
  ];
  assert.deepEqual(brokenLayers(fine), []);

  const circle = [
    source("lib/a.ts", 'import { b } from "./b.ts";'),
    source("lib/b.ts", 'import { type T, c } from "./c.ts";'),
    source("lib/c.ts", 'export * from "./a.ts";'),
  ];
  assert.deepEqual(findCycle(circle), [
    "lib/a.ts",
    "lib/b.ts",
    "lib/c.ts",
    "lib/a.ts",
  ]);
  for (const types of ["import type { A }", "import { type B }"]) {
    const back = source("lib/b.ts", `${types} from "./a.ts";`);
    assert.ok(findCycle([circle[0]!, back]), types);
  }
  const straight = [circle[0]!, circle[1]!, source("lib/c.ts", "")];
  assert.equal(findCycle(straight), undefined);

  const found = (text: string, pattern: RegExp) =>
    mentions([source("lib/x.ts", text)], pattern, []).length === 1;
  assert.ok(found("const d: GPUDevice = x;", GPU));
  assert.ok(!found("/** Not a GPUDevice. */", GPU));
  assert.ok(found("if (x) console.error(x);", USER));
  assert.ok(found("Deno.exit(1);", USER));
  assert.ok(!found('throw new Error("console.log");', USER));
  for (
    const text of ["x: any", "x as any", "Map<string, any>", "any[] | any"]
  ) {
    assert.ok(found(`const y = (${text});`, ANY), text);
  }
  assert.ok(!found('throw new Error("for any: none");', ANY));
});
