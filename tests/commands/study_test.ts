import assert from "node:assert/strict";
import { join } from "node:path";
import { readManifest } from "../../lib/data/manifest.ts";
import {
  assertFailsInOneLine,
  drawSet,
  folderOfFile,
  succeed,
  zoomin,
} from "./process.ts";

const folder = folderOfFile(drawSet);

/** Processes whose command line has `path`, from /proc. */
async function processesOf(path: string): Promise<string> {
  const pattern = `[${path[0]}]${path.slice(1)}`; // not grep's own
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", `grep -als '${pattern}' /proc/[0-9]*/cmdline`],
  }).output();
  return new TextDecoder().decode(stdout);
}

Deno.test("study runs its grid, writes its report, and continues where it was", async () => {
  const argv = ["study", "needle", "--quick", "--backend", "wasm", "--json"];
  const first = await succeed(
    folder,
    ...argv,
    "--out",
    "out",
    "--only",
    "ours-5.0-clusters-8",
  );
  assert.deepEqual(
    JSON.parse(first.stdout).rows.map(({ variant }: { variant: string }) =>
      variant
    ),
    ["ours-5.0-clusters-8"],
  );
  const cell = join(folder, "out/runs/ours-5.0-clusters-8/seed-0/cell.json");
  const { mtime } = await Deno.stat(cell);

  const second = await succeed(folder, ...argv, "--out", "out");
  const results = JSON.parse(second.stdout);
  assert.equal(results.study, "needle");
  assert.deepEqual([results.done, results.cells], [3, 3]);
  assert.equal(results.rows.length, 3);
  for (const row of results.rows) {
    assert.ok(row.accuracy.mean >= 0 && row.accuracy.mean <= 1);
    assert.ok(row.peakBytes > 2 ** 20 && row.secondsPerFold > 0);
    assert.equal(
      row.accuracyDifference === null,
      row.variant.startsWith("ours"),
    );
  }
  assert.deepEqual((await Deno.stat(cell)).mtime, mtime); // not run again
  const report = await Deno.readTextFile(join(folder, "out/report.md"));
  assert.match(report, /A quick run: the figures mean nothing/);
  for (const [, path] of report.matchAll(/!\[.*?\]\((.*?)\)/g)) {
    assert.ok((await Deno.stat(join(folder, "out", path!))).size > 500, path!);
  }
  assert.match(
    report,
    /ours-5\.0-clusters-8: attention, .* of 48 sub-tiles hit/,
  );

  // A stopped run: its finished folds are reported, and marked.
  await Deno.remove(cell);
  const third = await succeed(folder, ...argv, "--out", "out", "--report");
  const partial = JSON.parse(third.stdout);
  assert.deepEqual([partial.done, partial.cells], [2, 3]);
  const part = partial.rows[0];
  assert.deepEqual(part, results.rows[0]);
  await assert.rejects(Deno.stat(cell), Deno.errors.NotFound);
});

Deno.test("a run that fails stops those beside it", async () => {
  const argv = ["study", "needle", "--quick", "--backend", "wasm"];
  const bad = join(folder, "failing/runs/ours-5.0-clusters-8/seed-0");
  await Deno.mkdir(bad, { recursive: true });
  await Deno.writeTextFile(join(bad, "held-out"), "no folder");
  const { code, stderr } = await zoomin(
    folder,
    ...[...argv, "--out", "failing", "--workers", "2"],
  );
  assert.equal(code, 1);
  assert.match(stderr, /Training in .*seed-0 failed: .*held-out/s);
  assert.equal(await processesOf("failing/runs"), "");
});

Deno.test("study takes no run for that of other settings or data", async () => {
  const { entries } = await readManifest(join(folder, "set", "manifest.csv"));
  const rows = entries.slice(0, 12).map(({ path, label }, i) =>
    `${path},${label},${1 + Math.floor(i / 2) % 2}`
  );
  const write = (rows: string[]) =>
    Deno.writeTextFile(
      join(folder, "folds.csv"),
      ["image,label,fold", ...rows, ""].join("\n"),
    );
  await write(rows);
  const argv = ["study", "colon", "--data", "folds.csv", "--out", "colon"];
  argv.push("--only", "uniform", "--backend", "wasm");
  await succeed(folder, ...argv, "--quick");
  const refused = async (message: RegExp, ...more: string[]) =>
    assertFailsInOneLine(await zoomin(folder, ...argv, ...more), {
      code: 2,
      message,
    });
  const another = /^colon\/runs\/uniform\/seed-0 was made with another /.source;
  await refused(RegExp(`${another}config and folds: .*--quick`, "m"));
  await refused(RegExp(another, "m"), "--report");
  await write(rows.slice(1));
  await refused(RegExp(`${another}data: give the --data`, "m"), "--quick");

  // Nor the folds of one that was cut off.
  await Deno.remove(join(folder, "colon/runs/uniform/seed-0/cell.json"));
  await refused(/seed-0 with another configuration: /, "--report");
  await refused(
    /differ from \S*uniform\/seed-0\/folds\.csv; /,
    "--quick",
    "--report",
  );
});

Deno.test("study says what it can run", async () => {
  for (
    const [argv, message] of [
      ["study", /"": the first argument must be colon or needle or gtsdb/],
      ["study kolon --out o", /"kolon"/],
      ["study colon --out o", /--data MANIFEST/],
      ["study needle", /--out DIR/],
      [
        "study needle --out o --only x",
        /no variant x \(--only\): those of needle are/,
      ],
    ] as const
  ) {
    const result = await zoomin(folder, ...argv.split(" "));
    assertFailsInOneLine(result, { code: 2, message });
  }
});
