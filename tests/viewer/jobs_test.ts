/** The jobs of the page: a run with its curves, stopped and continued. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { drawSet, folderOfFile } from "../commands/process.ts";
import {
  ended,
  post,
  serve,
  type Served,
  SMALL_SETTINGS,
} from "../serve/served.ts";
import { accessFaults, pageTest, stateOf } from "./browser.ts";

let served: Served;
const folder = folderOfFile(async (folder) => {
  await drawSet(folder);
  await Deno.mkdir(join(folder, "models"));
  served = await serve(
    folder,
    ...["--models", "models", "--data-root", "set", "--workers", "1"],
  );
});
Deno.test.afterAll(async () => {
  await served.stop();
});

/** Starts a run, and returns the id of its job. */
async function train(
  name: string,
  epochs: number,
  more: Record<string, unknown> = {},
): Promise<string> {
  const response = await post(`${served.url}/v1/train`, {
    data: "manifest.csv",
    name,
    preset: "needle",
    settings: SMALL_SETTINGS,
    epochs,
    ...more,
  });
  const job = await response.json();
  assert.equal(response.status, 202, JSON.stringify(job));
  return job.id;
}

pageTest(
  "a run shows its curves as they grow, stops and continues",
  async (page) => {
    const id = await train("endless", 10_000);
    await page.goto(`${served.url}/#view=jobs`);
    await page.getByRole("button", { name: "Training: endless" }).click();
    assert.equal(stateOf(page).job, id);
    const loss = page.getByRole("img", { name: /^Loss over \d+ epochs/ });
    await loss.waitFor();
    const epochs = async () =>
      Number(/over (\d+)/.exec((await loss.getAttribute("aria-label"))!)![1]);
    const before = await epochs();
    await page.getByRole("img", {
      name: new RegExp(`^Loss over (?!${before} )\\d+ epochs`),
    }).waitFor();
    assert.ok(await epochs() > before);
    await page.getByText(/^Epoch \d+ of 10000/).waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    const resume = page.getByRole("button", { name: "Resume" });
    await resume.click();
    const cancel = page.getByRole("button", { name: "Cancel" });
    await cancel.waitFor();
    await page.getByText(/^Epoch \d+ of 10000/).waitFor();
    await cancel.click();
    await resume.waitFor();
  },
);

pageTest("a finished run is a model to classify with", async (page) => {
  const id = await train("done", 1);
  assert.equal((await ended(served.url, id)).state, "succeeded");
  await page.goto(`${served.url}/#view=jobs&job=${id}`);
  await page.getByRole("table", { name: "The model" }).waitFor();
  const confusion = page.getByRole("table", { name: /^Confusion/ });
  const counts = await confusion.locator("tbody td").allInnerTexts();
  assert.equal(counts.length, 4);
  assert.equal(counts.reduce((sum, text) => sum + Number(text), 0), 2);
  await page.getByRole("img", { name: /^Calibration of positive, \d/ })
    .waitFor();
  await page.getByRole("table", { name: /^Scores of 2 validation images/ })
    .waitFor();
  const loss = page.getByRole("img", { name: /^Loss over/ });
  await loss.hover();
  await page.getByText("epoch 1", { exact: true }).last().waitFor();
  assert.deepEqual(await accessFaults(page), []);
  const [report] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Save the report" }).click(),
  ]);
  assert.equal(report.suggestedFilename(), "done.html");
  const file = join(folder, "done.html");
  await report.saveAs(file);
  assert.match(await Deno.readTextFile(file), /<title>done: Training run/);
  await page.getByRole("button", { name: "Classify with this model" }).click();
  assert.deepEqual(stateOf(page).model, "done");
  await page.goto(
    `${served.url}/#path=images/test_00000.png&model=done&view=look`,
  );
  await page.locator(".label").waitFor();
});

pageTest(
  "a cross-validation shows its folds as they are trained",
  async (page) => {
    const id = await train("long-folds", 10_000, { folds: 2 });
    await page.goto(`${served.url}/#view=jobs&job=${id}`);
    await page.getByRole("heading", { name: "Cross-validation: long-folds" })
      .waitFor();
    await page.getByText(/^Fold 1 of 2, training 1 of 4\. Epoch \d+ of 10000/)
      .waitFor();
    const folds = page.getByRole("table", { name: /^Folds, best-epoch/ });
    await folds.getByRole("img", {
      name: /^Loss of fold 1 over \d+ epochs: \d/,
    })
      .waitFor();
    await page.getByRole("img", { name: /^Loss over \d+ epochs/ }).waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: "Resume" }).click();
    const cancel = page.getByRole("button", { name: "Cancel" });
    await cancel.click();
    await page.getByRole("button", { name: "Resume" }).waitFor();
  },
);

let folds: Promise<string> | undefined;

/** The id of a cross-validation that is done. */
function finishedFolds(): Promise<string> {
  return folds ??= (async () => {
    const id = await train("folds", 2, { folds: 2 });
    assert.equal((await ended(served.url, id)).state, "succeeded");
    return id;
  })();
}

pageTest("a finished cross-validation shows all of it", async (page) => {
  const id = await finishedFolds();
  await page.goto(`${served.url}/#view=jobs&job=${id}`);
  for (const protocol of ["held-out", "best-epoch"]) {
    const folds = page.getByRole("table", {
      name: new RegExp(`^Folds, ${protocol}`),
    });
    await folds.waitFor();
    const rows = await folds.locator("tbody tr").allInnerTexts();
    assert.equal(rows.length, 3);
    assert.match(rows[0]!, /^Fold 1\s+\d\s+6\s+\d\.\d{3}\s+\d\.\d{3}/);
    assert.match(rows[2]!, /^Mean, 95 % interval\s+\d\.\d{3}\s/);
  }
  const tables = page.getByRole("table", { name: /^Confusion, / });
  assert.equal(await tables.count(), 2);
  const counts = await tables.first().locator("tbody td").allInnerTexts();
  assert.equal(counts.reduce((sum, text) => sum + Number(text), 0), 12);
  await page.getByRole("img", { name: /^Calibration of positive, \d/ }).first()
    .waitFor();
  // The curves are those of the fold that is chosen.
  const first = page.locator("#best-epoch-1");
  assert.equal(await first.getAttribute("aria-pressed"), "false");
  await first.click();
  await page.locator("#best-epoch-1[aria-pressed=true]").waitFor();
  await page.getByRole("img", { name: /^Accuracy over 2 epochs: .*fold \d/ })
    .waitFor();
  assert.deepEqual(await accessFaults(page), []);
  assert.equal(
    await page.getByRole("button", { name: "Classify with this model" })
      .count(),
    0,
  );
  const [report] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Save the report" }).click(),
  ]);
  const file = join(folder, "folds.html");
  await report.saveAs(file);
  assert.match(await Deno.readTextFile(file), /<title>folds: Cross-validation/);
});

pageTest("a phone needs no scrolling to the side for folds", async (page) => {
  await page.goto(`${served.url}/#view=jobs&job=${await finishedFolds()}`);
  await page.getByRole("table", { name: /^Folds, held-out/ }).waitFor();
  const [content, screen] = await page.evaluate(
    "[document.documentElement.scrollWidth, innerWidth]",
  ) as [number, number];
  assert.ok(content <= screen, `${content} > ${screen}`);
}, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
