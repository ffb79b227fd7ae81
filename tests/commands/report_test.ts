import assert from "node:assert/strict";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { launchBrowser, noBrowser } from "../chromium.ts";
import {
  assertFailsInOneLine,
  drawAndTrain,
  folderOfFile,
  remarks,
  ROOT,
  SMALL,
  succeed,
  zoomin,
} from "./process.ts";

const EVALUATION = "run/evaluations/set-manifest-test";

const folder = folderOfFile(async (folder) => {
  await drawAndTrain(folder);
  await succeed(
    folder,
    ...["eval", "--checkpoint", "run", "--data", "set/manifest.csv"],
    ...["--backend", "wasm"],
  );
});

async function pageOf(...path: string[]): Promise<string> {
  return await Deno.readTextFile(join(folder, ...path));
}

// deno-lint-ignore no-explicit-any -- a record of figures of many shapes
async function recorded(...path: string[]): Promise<any> {
  return JSON.parse(await pageOf(...path));
}

/** The cells of each line of a table, without tags. */
function rowsOf(page: string): string[][] {
  return [...page.matchAll(/<tr>(.*?)<\/tr>/gs)].map(([, row]) =>
    [...row!.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell]) =>
      cell!.replaceAll(/<[^>]*>/g, "").trim()
    )
  );
}

Deno.test("train and eval leave a report in their folder", async () => {
  const run = await pageOf("run", "report.html");
  assert.match(run, /<h1>run<\/h1>/);
  assert.match(run, /Not tested: the figures of training and validation/);
  const evaluation = await pageOf(EVALUATION, "report.html");
  assert.match(evaluation, /8 images of manifest\.csv, split test/);
});

Deno.test("report: each figure is the one that was recorded", async () => {
  const { stdout } = await succeed(folder, "report", "run", "--out", "a.html");
  assert.equal(stdout, "a.html\n");
  const page = await pageOf("a.html");
  const { report } = await recorded(EVALUATION, "evaluation.json");
  const rows = rowsOf(page);
  const row = (name: string) => rows.find(([head]) => head === name);
  const text = (value: number) => value.toFixed(3);
  for (const [name, key] of [["accuracy", "accuracy"], ["AUC", "auc"]]) {
    const { value, interval: { low, high } } = report.metrics[key!];
    assert.deepEqual(row(name!)!.slice(1, 3), [
      text(value),
      `${text(low)} to ${text(high)}`,
    ]);
  }
  report.confusion.forEach((counts: number[], i: number) => {
    assert.ok(
      rows.some((cells) =>
        cells.join() === [report.classes[i], ...counts].join()
      ),
    );
  });
  const { drawn } = report.attention;
  assert.equal(row("sub-tiles that hit an object")![1], text(drawn.value));
  // Settings that are not the preset's.
  assert.deepEqual(row("view.samples")!.slice(1), [
    rows.find(([head]) => head === "view.samples")![1],
    "4",
  ]);
  // Counts of images, of the table that the run keeps.
  const splits = (await pageOf("run", "splits.csv")).split("\n");
  const trained = (label: string) =>
    splits.filter((line) => line.includes(`,${label},train`)).length;
  for (const label of ["negative", "positive"]) {
    assert.ok(
      rows.some(([head, train]) =>
        head === label && train === String(trained(label))
      ),
    );
  }
});

Deno.test("report: the area under the ROC curve drawn is the recorded AUC", async () => {
  const page = await pageOf(EVALUATION, "report.html");
  const chart = page.slice(page.indexOf(">ROC</text>"));
  const points = /class="line-0"\s+points="([^"]*)"/.exec(chart)![1]!.split(" ")
    .map((point) => point.split(",").map(Number) as [number, number]);
  const [left, bottom] = points[0]!, [right, top] = points.at(-1)!;
  let area = 0;
  points.slice(1).forEach(([x, y], i) => {
    const [x0, y0] = points[i]!;
    area += (x - x0) / (right - left) *
      (2 * bottom - y - y0) / 2 / (bottom - top);
  });
  const { report } = await recorded(EVALUATION, "evaluation.json");
  // The chart rounds to a tenth of a pixel.
  assert.ok(Math.abs(area - report.metrics.auc.value) < 2e-3, `${area}`);
});

Deno.test("report: the worst case comes first, with its sub-tiles", async () => {
  const page = await pageOf(EVALUATION, "report.html");
  const cards = [...page.matchAll(/<article class="case">(.*?)<\/article>/gs)];
  const probabilities = cards.map(([, card]) =>
    Number(/p\(\w+\) = (\d\.\d+)/.exec(card!)![1])
  );
  assert.equal(cards.length, 8);
  assert.deepEqual(
    probabilities.slice(0, 4),
    probabilities.slice(0, 4).toSorted((a, b) => a - b),
  );
  assert.ok(Math.min(...probabilities) === probabilities[0]);
  assert.ok(Math.max(...probabilities) === probabilities[4]);
  for (const [, card] of cards) {
    assert.equal(card!.match(/data:image\/jpeg;base64,/g)?.length, 1);
    // SMALL draws four.
    assert.equal(card!.match(/data:image\/png;base64,/g)?.length, 4);
  }
});

Deno.test("report of a cross-validation: its folds and means", async () => {
  await succeed(
    folder,
    ...["train", "--data", "set/manifest.csv", "--out", "folds"],
    ...["--folds", "2", "--workers", "1", ...SMALL, "--epochs", "1"],
  );
  const { summaries } = await recorded("folds", "crossval.json");
  const page = await pageOf("folds", "report.html");
  for (const { accuracy: { mean } } of summaries) {
    assert.ok(
      rowsOf(page).some(([name, value]) =>
        name === "accuracy" && value === mean.toFixed(3)
      ),
    );
  }
  assert.match(page, /Best and worst cases, held-out/);
  assert.match(page, /data:image\/jpeg/);
  await succeed(folder, "report", "folds/held-out/fold-01");
});

Deno.test("report of a study: its table and its figures", async () => {
  const study = join(ROOT, "docs", "studies", "gtsdb");
  await succeed(folder, "report", study, "--out", "study.html");
  const { rows } = JSON.parse(
    await Deno.readTextFile(join(study, "results.json")),
  );
  const found = rowsOf(await pageOf("study.html"));
  for (const { variant, accuracy } of rows) {
    assert.ok(
      found.some((cells) =>
        cells[0]!.startsWith(variant) &&
        cells[4]?.startsWith(accuracy.mean.toFixed(3))
      ),
      variant,
    );
  }
  assert.match(await pageOf("study.html"), /data:image\/svg\+xml;base64,/);
});

Deno.test("report says where an image is gone, and escapes its name", async () => {
  const name = '<b>&".png';
  const own = join(folder, "odd");
  await Deno.mkdir(own);
  await Deno.copyFile(
    join(folder, "set/images/test_00000.png"),
    join(own, name),
  );
  await Deno.writeTextFile(
    join(own, "m.csv"),
    `image,label\n"${name.replace('"', '""')}",negative\n`,
  );
  await succeed(
    folder,
    ...["eval", "--checkpoint", "run", "--data", "odd/m.csv"],
    ...["--out", "odd/kept", "--backend", "wasm"],
  );
  await Deno.remove(join(own, name));
  await succeed(folder, "report", "odd/kept");
  const page = await pageOf("odd", "kept", "report.html");
  assert.match(page, /<p class="name">&lt;b&gt;&amp;&quot;\.png<\/p>/);
  assert.match(page, /No picture: Cannot (find|open|read) /);
  assert.doesNotMatch(page, /No picture: [^<]*\/odd\//); // tells no folder
  assert.doesNotMatch(page, /<b>&/);
});

Deno.test("a report that cannot be written is told, and fails nothing", async () => {
  await Deno.mkdir(join(folder, "taken/report.html"), { recursive: true });
  const result = await succeed(
    folder,
    ...["eval", "--checkpoint", "run", "--data", "set/manifest.csv"],
    ...["--out", "taken", "--backend", "wasm"],
  );
  assert.match(remarks(result).join("\n"), /^no report: .*report\.html/m);
  assert.match(result.stdout, /^accuracy/m);
});

Deno.test("report names what is wrong with its input", async () => {
  assertFailsInOneLine(await zoomin(folder, "report"), {
    code: 2,
    message: /give one folder of a run, a study or an evaluation/,
  });
  assertFailsInOneLine(await zoomin(folder, "report", "set"), {
    code: 2,
    message: /^Cannot report on set: it has no log\.jsonl of a run, /,
  });
  await Deno.mkdir(join(folder, "damaged"));
  await Deno.writeTextFile(join(folder, "damaged/results.json"), "{");
  assertFailsInOneLine(await zoomin(folder, "report", "damaged"), {
    code: 1,
    message: /results\.json: it is no JSON/,
  });
});

/** Opens a page of `folder` and returns what it asked for and said. */
async function opened(
  name: string,
  options: { width: number; colorScheme: "light" | "dark" },
  look: (page: Page) => Promise<void>,
): Promise<{ requests: string[]; words: string[] }> {
  const browser = await launchBrowser();
  try {
    const { width, colorScheme } = options;
    const page = await browser.newPage({
      colorScheme,
      viewport: { width, height: 900 },
    });
    const requests: string[] = [], words: string[] = [];
    page.on("request", (request) => requests.push(request.url()));
    page.on("console", (message) => words.push(message.text()));
    page.on("pageerror", (error) => words.push(error.message));
    await page.goto(`file://${join(folder, name)}`);
    await look(page);
    return { requests, words };
  } finally {
    await browser.close();
  }
}

for (const colorScheme of ["light", "dark"] as const) {
  for (const width of [390, 1200]) {
    Deno.test({
      name: `report in a browser, ${colorScheme}, ${width} px wide`,
      ignore: noBrowser,
      fn: async () => {
        await succeed(folder, "report", "run", "--out", "seen.html");
        const { requests, words } = await opened(
          "seen.html",
          { width, colorScheme },
          async (page) => {
            const read = (code: string) => page.evaluate(code);
            assert.equal(
              await read("document.documentElement.scrollWidth"),
              width,
            );
            const broken =
              "[...document.images].filter((i) => i.naturalWidth === 0).length";
            assert.equal(await read(broken), 0);
            assert.ok(await read("document.images.length") as number >= 32);
            const lightness = await read(
              "getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]",
            );
            assert.equal(Number(lightness) > 128, colorScheme === "light");
          },
        );
        assert.deepEqual(words, []);
        const left = requests.filter((url) => !url.startsWith("data:"));
        assert.deepEqual(left, [`file://${join(folder, "seen.html")}`]);
      },
    });
  }
}
