/** Drawing on training images, and training with what was drawn. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { drawSet, folderOfFile } from "../commands/process.ts";
import { serve, type Served } from "../serve/served.ts";
import { eventually } from "../waiting.ts";
import { accessFaults, pageTest, stateOf, until } from "./browser.ts";

const TABLE = "manifest.csv";

let served: Served;
let images: string[]; // those of training with a needle
const folder = folderOfFile(async (folder) => {
  await drawSet(folder);
  await Deno.mkdir(join(folder, "models"));
  // As if nobody had annotated anything.
  await Deno.remove(join(folder, "set/regions.csv"));
  images = (await Deno.readTextFile(join(folder, "set", TABLE)))
    .split("\n").filter((line) => /positive.*train|train.*positive/.test(line))
    .map((line) => line.split(",")[0]!);
  served = await serve(
    folder,
    ...["--models", "models", "--data-root", "set", "--workers", "1"],
  );
});
Deno.test.afterAll(async () => {
  await served.stop();
});

/** Opens an image of the table, and waits until it can be drawn on. */
async function open(page: Page, image: string): Promise<void> {
  const query = new URLSearchParams({ view: "draw", table: TABLE, image });
  await page.goto("about:blank");
  await page.goto(`${served.url}/#${query}`);
  await ready(page, image);
}

async function ready(page: Page, image: string): Promise<void> {
  await page.getByRole("img", { name: image }).waitFor();
  await page.getByRole("button", { name: "Add in the middle", disabled: false })
    .waitFor();
}

/** Drags over the picture between shares of its height from the middle. */
async function drag(page: Page, from: number, to: number): Promise<void> {
  const { x, y, width, height } = (await page.locator("#drawing")
    .boundingBox())!;
  const at = (share: number) =>
    [x + width / 2 + share * height, y + height / 2 + share * height] as const;
  await page.mouse.move(...at(from));
  await page.mouse.down();
  await page.mouse.move(...at((from + to) / 2));
  await page.mouse.move(...at(to));
  await page.mouse.up();
}

async function savedObjects(image: string) {
  const query = new URLSearchParams({ table: TABLE, image });
  const response = await fetch(
    `${served.url}/v1/annotations/image?${query}`,
  );
  return { etag: response.headers.get("etag")!, ...await response.json() };
}

async function save(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved", { exact: true }).waitFor();
}

pageTest(
  "three boxes are drawn, saved and trained with, and the curve moves",
  async (page) => {
    await page.goto(served.url);
    await page.getByRole("button", { name: TABLE }).click();
    assert.equal(stateOf(page).view, "draw");
    for (const image of images.slice(0, 3)) {
      await page.getByRole("button", { name: image.slice("images/".length) })
        .click();
      await ready(page, image);
      await drag(page, 0.05, 0.15);
      await page.getByRole("button", { name: /^Box \d+ × \d+ px at/ })
        .waitFor();
    }
    // Those of the images before were saved when they were left.
    await save(page);
    for (const image of images.slice(0, 3)) {
      const { objects: [box, ...others] } = await savedObjects(image);
      assert.deepEqual(others, []);
      // The image is 128 px high and fills the picture: its middle is 64.
      assert.ok(Math.abs(box.x - 70.4) < 6, JSON.stringify(box));
      assert.ok(Math.abs(box.width - 12.8) < 3, JSON.stringify(box));
    }
    await page.getByLabel("Name of the model").fill("few-boxes");
    await page.getByLabel("Preset").selectOption("needle");
    await page.getByLabel("Epochs").fill("20000");
    await page.getByText("Settings").click();
    await page.getByLabel("One KEY=VALUE a line").fill(
      "view.samples=4\nevaluation.samples=4\ntraining.validation=0\ntraining.dense.copies=0\n",
    );
    await page.getByRole("button", { name: "Train", exact: true }).click();
    const loss = page.getByRole("img", { name: /^Loss over \d+ epochs/ });
    await loss.waitFor();
    await page.getByText("Trained on labels and 3 objects in 3 images")
      .waitFor();
    const name = (await loss.getAttribute("aria-label"))!;
    const before = /over (\d+)/.exec(name)![1];
    await page.getByRole("img", {
      name: new RegExp(`^Loss over (?!${before} )\\d+ epochs`),
    }).waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: "Resume" }).waitFor();
  },
);

pageTest(
  "boxes and points are added, changed and deleted by keyboard",
  async (page) => {
    const image = images[3]!;
    await open(page, image);
    await page.keyboard.press("a");
    const box = page.locator("#objects li > button:first-child");
    assert.match(await box.innerText(), /^Box 16 × 16 px at 56, 56$/);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowDown");
    assert.match(await box.innerText(), /at 57, 57$/);
    await page.keyboard.press("Shift+ArrowLeft");
    assert.match(await box.innerText(), /^Box 15 × 16 px at 57, 57$/);
    await page.keyboard.press("Control+z");
    assert.match(await box.innerText(), /^Box 16 × 16/);
    await page.getByLabel("Box", { exact: true }).press("ArrowRight");
    await page.getByRole("button", { name: "Add in the middle" })
      .press("Enter");
    assert.equal(await box.count(), 2);
    assert.match(await box.last().innerText(), /^Point at 64, 64$/);
    await box.first().press("Delete");
    assert.equal(await box.count(), 1);
    await page.keyboard.press("Control+s");
    await page.getByText("Saved", { exact: true }).waitFor();
    const { objects } = await savedObjects(image);
    assert.deepEqual(objects, [{ x: 64, y: 64, width: 0, height: 0 }]);
    await open(page, image); // shown again
    await page.getByRole("button", { name: "Point at 64, 64" }).first()
      .waitFor();
  },
);

pageTest("a click sets a point where it was", async (page) => {
  await open(page, images[3]!);
  const before = await page.locator("#objects li").count();
  await page.getByText("Point", { exact: true }).click();
  await drag(page, 0.25, 0.25);
  await page.getByRole("button", { name: /^Point at 9[5-7], 9[5-7]$/ })
    .waitFor();
  assert.equal(await page.locator("#objects li").count(), before + 1);
  await page.getByRole("button", { name: "Undo" }).click();
  assert.equal(await page.locator("#objects li").count(), before);
});

pageTest(
  "what another has saved meanwhile is not lost",
  async (page) => {
    const image = images[4]!;
    await open(page, image);
    await drag(page, -0.2, -0.1);
    const { etag } = await savedObjects(image);
    const theirs = { x: 1, y: 2, width: 3, height: 4 };
    const query = new URLSearchParams({ table: TABLE, image });
    const other = await fetch(`${served.url}/v1/annotations/image?${query}`, {
      method: "PUT",
      headers: { "content-type": "application/json", "if-match": etag },
      body: JSON.stringify({ objects: [theirs] }),
    });
    assert.equal(other.status, 200);
    await other.body?.cancel();
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByText(/Not saved: .* changed meanwhile/).waitFor();
    assert.deepEqual((await savedObjects(image)).objects, [theirs]);
    await page.getByRole("button", { name: "Load theirs" }).click();
    await page.getByRole("button", { name: "Box 3 × 4 px at 1, 2" }).first()
      .waitFor();
  },
  { allowed: /status of 412/ },
);

pageTest(
  "what is drawn while a save is under way is saved as well",
  async (page) => {
    const image = images[4]!;
    await open(page, image);
    const { objects } = await savedObjects(image);
    const asked = Promise.withResolvers<void>();
    const answered = Promise.withResolvers<void>();
    const statuses: number[] = [];
    let asks = 0;
    await page.route(/annotations\/image/, async (route) => {
      if (asks++ === 0) {
        asked.resolve();
        await answered.promise;
      }
      const response = await route.fetch();
      statuses.push(response.status());
      await route.fulfill({ response });
    });
    await page.keyboard.press("a");
    await page.keyboard.press("Control+s");
    await asked.promise;
    await page.keyboard.press("a");
    await page.keyboard.press("Control+s");
    answered.resolve();
    await eventually("both are answered", () => statuses.length === 2);
    assert.deepEqual(statuses, [200, 200]);
    const saved = await savedObjects(image);
    assert.equal(saved.objects.length, objects.length + 2);
    await until(page, "document.getElementById('save').disabled");
  },
);

pageTest(
  "an image that could not be loaded is tried again",
  async (page) => {
    const [shown, image] = [images[0]!, images[5]!];
    await open(page, shown);
    const file = join(folder, "set", image);
    await Deno.rename(file, `${file}.away`);
    await page.getByRole("button", { name: image.slice("images/".length) })
      .click();
    const again = page.getByRole("button", { name: "Try again" });
    await again.waitFor();
    assert.match(await page.locator("#draw-error").innerText(), /\w+\.png/);
    await again.click();
    await again.waitFor(); // it is still away
    await Deno.rename(`${file}.away`, file);
    await again.click();
    await ready(page, image);
    assert.equal(await again.count(), 0);
  },
  { allowed: /status of 4\d\d/ },
);

pageTest("the boxes are downloaded as a table", async (page) => {
  await open(page, images[0]!);
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download boxes" }).click(),
  ]);
  assert.equal(download.suggestedFilename(), "boxes.csv");
  const file = join(folder, "boxes.csv");
  await download.saveAs(file);
  assert.match(
    await Deno.readTextFile(file),
    /^image,left,top,right,bottom,type\n/,
  );
});

for (const colorScheme of ["light", "dark"] as const) {
  pageTest(`axe-core finds no serious fault: ${colorScheme}`, async (page) => {
    await page.goto(`${served.url}/#view=draw`);
    await page.getByText("Choose a table").waitFor();
    assert.deepEqual(await accessFaults(page), []);
    await open(page, images[0]!);
    await page.keyboard.press("a");
    await page.getByText("Settings").click();
    assert.deepEqual(await accessFaults(page), []);
    await page.keyboard.press("Control+z");
  }, { colorScheme });
}

pageTest("a phone needs no scrolling to the side", async (page) => {
  await open(page, images[0]!);
  const [content, screen] = await page.evaluate(
    "[document.documentElement.scrollWidth, innerWidth]",
  ) as [number, number];
  assert.ok(content <= screen, `${content} > ${screen}`);
}, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
