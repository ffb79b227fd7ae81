/** The page in a real browser: an image dropped, seen and examined. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { folderOfFile, ROOT } from "../commands/process.ts";
import { DEFAULT_LIMITS } from "../../lib/serve/limits.ts";
import { serve, type Served, withServer } from "../serve/served.ts";
import { serveFile } from "../image/file_server.ts";
import { eventually } from "../waiting.ts";
import { accessFaults, pageTest, stateOf, until } from "./browser.ts";
import { SPOT, spotPng, SUB_TILE, writeSpotModel } from "./spot_model.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
const PATH = "scans/spot.png";

let served: Served, closed: Served;
const folder = folderOfFile(async (folder) => {
  await Deno.mkdir(join(folder, "models"));
  await Deno.mkdir(join(folder, "set/scans"), { recursive: true });
  const models = join(folder, "models");
  await writeSpotModel(join(models, "spot.safetensors"));
  await writeSpotModel(join(models, "z-evidence.safetensors"), {
    head: "evidence",
  });
  await Deno.writeFile(join(folder, "set", PATH), await spotPng());
  await Deno.writeTextFile(join(folder, "set/scans/broken.png"), "no image");
  await Deno.writeTextFile(join(folder, "token"), TOKEN);
  const flags = ["--models", "models", "--data-root", "set", "--workers", "1"];
  await Deno.mkdir(join(folder, "state"));
  served = await serve(folder, ...flags);
  closed = await serve(
    folder,
    ...[...flags, "--state", "state", "--token-file", "token"],
  );
});
Deno.test.afterAll(async () => {
  await served.stop();
  await closed.stop();
});

/** Waits for the label of the image in view. */
async function labelOf(page: Page): Promise<string> {
  return (await page.locator(".label").textContent())!;
}

/** Drops a file onto the page. */
async function drop(page: Page, bytes: Uint8Array): Promise<void> {
  const transfer = await page.evaluateHandle(
    `(() => {
      const transfer = new DataTransfer();
      const bytes = Uint8Array.fromBase64("${bytes.toBase64()}");
      transfer.items.add(new File([bytes], "a.png", { type: "image/png" }));
      return transfer;
    })()`,
  );
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
}

/** Level-0 px of the strongest pixel of what lies over the picture. */
async function hottest(page: Page): Promise<{ x: number; y: number }> {
  const { x, y, zoom } = stateOf(page);
  const found = await page.evaluate(`(() => {
    const canvas = document.querySelector("#viewer .over");
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    let most = 0, at = -1;
    for (let i = 0; i < width * height; i++) {
      if (data[4 * i + 3] * data[4 * i] > most) {
        most = data[4 * i + 3] * data[4 * i];
        at = i;
      }
    }
    return { x: at % width - width / 2, y: Math.floor(at / width) - height / 2 };
  })()`) as { x: number; y: number };
  return {
    x: Number(x) + found.x / Number(zoom),
    y: Number(y) + found.y / Number(zoom),
  };
}

function isInSpot({ x, y }: { x: number; y: number }, margin = 0): boolean {
  return x >= SPOT.x - margin && x <= SPOT.x + SPOT.width + margin &&
    y >= SPOT.y - margin && y <= SPOT.y + SPOT.height + margin;
}

pageTest(
  "an image that is dropped is seen, and gets its label",
  async (page) => {
    await page.goto(served.url);
    await page.locator("#hint").waitFor();
    await drop(page, await spotPng());
    assert.match(await labelOf(page), /^(negative|positive)$/);
    assert.match(stateOf(page).upload!, /^[0-9a-f-]{36}$/);
    assert.equal(await page.locator(".bars tr").count(), 2);
    assert.ok(await page.locator("#sub-tiles button").count() > 0);
  },
);

pageTest("the overlay is hottest on the object", async (page) => {
  for (const overlay of ["stage1", "stage2"]) {
    for (const scale of ["percentile", "raw"]) {
      await page.goto("about:blank"); // a fragment alone would not load it
      const query =
        `path=${PATH}&overlay=${overlay}&scale=${scale}&boxes=false`;
      await page.goto(`${served.url}/#${query}`);
      await page.locator("#legend").waitFor();
      await page.waitForURL(/zoom=/);
      const found = await hottest(page);
      assert.ok(
        isInSpot(found, 8), // a cell of stage I
        `${overlay}, ${scale}: ${JSON.stringify(found)}`,
      );
    }
  }
});

pageTest("evidence is an overlay of models that have it", async (page) => {
  await page.goto(`${served.url}/#path=${PATH}&model=spot`);
  await labelOf(page);
  const evidence = page.getByLabel("Evidence", { exact: true });
  assert.equal(await evidence.isVisible(), false);
  await page.goto("about:blank");
  const query = `path=${PATH}&model=z-evidence&boxes=false`;
  await page.goto(`${served.url}/#${query}`);
  await labelOf(page);
  await page.waitForURL(/zoom=/);
  await page.getByText("Evidence", { exact: true }).click();
  await page.locator("#legend", { hasText: "Evidence" }).waitFor();
  const { x, y } = await hottest(page);
  const subTiles = await page.locator("#sub-tiles button").evaluateAll(
    (buttons) => buttons.map((button) => button.getAttribute("aria-label")!),
  );
  const places = subTiles.map((label) => /at (-?\d+), (-?\d+)$/.exec(label)!);
  assert.ok(
    places.some(([, left, top]) =>
      x >= Number(left) - 1 && x <= Number(left) + SUB_TILE + 1 &&
      y >= Number(top) - 1 && y <= Number(top) + SUB_TILE + 1
    ),
    JSON.stringify({ x, y, subTiles }),
  );
});

pageTest(
  "a click on a sub-tile flies to it and shows it in full",
  async (page) => {
    await page.goto(`${served.url}/#path=${PATH}`);
    await labelOf(page);
    await page.waitForURL(/zoom=/);
    const before = Number(stateOf(page).zoom);
    const first = page.locator("#sub-tiles button").first();
    const [, x, y] = /at (-?\d+), (-?\d+)$/
      .exec((await first.getAttribute("aria-label"))!)!;
    await first.click();
    await page.waitForURL((url) =>
      Number(new URLSearchParams(url.hash.slice(1)).get("zoom")) > 2 * before
    );
    const { x: centreX, y: centreY } = stateOf(page);
    assert.ok(Math.abs(Number(centreX) - Number(x) - SUB_TILE / 2) <= 1);
    assert.ok(Math.abs(Number(centreY) - Number(y) - SUB_TILE / 2) <= 1);
    const detail = page.locator("#detail img");
    await detail.waitFor();
    await until(
      page,
      `document.querySelector("#detail img").naturalWidth === ${SUB_TILE}`,
    );
    assert.equal(await first.getAttribute("aria-pressed"), "true");
    await page.keyboard.press("n");
    assert.match(await page.locator("#detail figcaption").innerText(), /^2 of/);
  },
);

pageTest(
  "a link shows the same: model, image, seeds, overlay and place",
  async (page) => {
    const state = {
      path: PATH,
      model: "spot",
      samples: "6",
      seed: "3",
      runs: "5",
      overlay: "stage2",
      scale: "raw",
      opacity: "0.5",
      x: "300",
      y: "180",
      zoom: "4",
    };
    await page.goto(`${served.url}/#${new URLSearchParams(state)}`);
    await page.getByText("lowest to highest of 5 seeds").waitFor();
    assert.equal(await page.locator("#sub-tiles button").count(), 6);
    assert.equal(await page.locator("#seed").inputValue(), "3");
    assert.equal(await page.locator("#samples").inputValue(), "6");
    assert.ok(await page.getByLabel("Raw").isChecked());
    assert.ok(await page.getByLabel("Stage II", { exact: true }).isChecked());
    const { x, y, zoom } = stateOf(page);
    assert.deepEqual([x, y, zoom].map(Number), [300, 180, 4]);
    await page.locator("#seed").fill("4");
    await page.locator("#go").click();
    await page.waitForURL(/seed=4/);
    await page.goBack();
    await page.waitForURL(/seed=3/);
    await until(page, `document.getElementById("seed").value === "3"`);
  },
);

pageTest(
  "a large image becomes a job, which a second visit finds",
  async (page) => {
    const limits = { ...DEFAULT_LIMITS, jobBytes: 0 };
    const state = join(folder, "jobs");
    await Deno.mkdir(state);
    await withServer(folder, { limits, state }, async (url) => {
      for (let visit = 0; visit < 2; visit++) {
        await page.goto("about:blank");
        await page.goto(`${url}/#path=${PATH}&overlay=stage1`);
        await labelOf(page);
        await page.locator("#legend").waitFor();
      }
      const { jobs } = await (await fetch(`${url}/v1/jobs`)).json();
      assert.equal(jobs.length, 1);
      await page.goto("about:blank"); // it asks no more
    });
  },
);

pageTest("an image behind a URL is seen, and gets its label", async (page) => {
  await using host = await serveFile(await spotPng());
  const state = join(folder, "remote");
  await Deno.mkdir(state);
  const allowedHosts = [new URL(host.url).host];
  await withServer(folder, { allowedHosts, state }, async (url) => {
    await page.goto(url);
    await page.locator("#url").fill(host.url);
    await page.getByRole("button", { name: "Open", exact: true }).click();
    await labelOf(page);
    await page.waitForURL(/zoom=/);
    assert.equal(stateOf(page).uri, host.url);
    await page.goto("about:blank"); // it asks no more
  });
});

pageTest(
  "images are chosen from the folders of data, by keyboard too",
  async (page) => {
    await page.goto(served.url);
    await page.getByRole("button", { name: "scans/" }).press("Enter");
    await page.getByRole("button", { name: "spot.png" }).press("Enter");
    await labelOf(page);
    assert.equal(stateOf(page).path, PATH);
    // The label is there before the heat maps are, of which the key shows the next.
    await eventually("the key shows the heat map", async () => {
      await page.keyboard.press("o");
      return page.url().includes("overlay=stage1");
    });
  },
);

pageTest(
  "what cannot be shown is said in words, where it was asked for",
  async (page) => {
    await page.goto(`${served.url}/#path=scans/broken.png`);
    await page.locator("#image-error", { hasText: "Cannot open" }).waitFor();
    await page.locator("#url").fill("https://slides.example.org/a.tif");
    await page.getByRole("button", { name: "Open", exact: true }).click();
    await page.locator("#image-error", { hasText: "not an allowed host" })
      .waitFor();
  },
  { allowed: /status of (415|403)/ },
);

for (const colorScheme of ["light", "dark"] as const) {
  pageTest(`axe-core finds no serious fault: ${colorScheme}`, async (page) => {
    await page.goto(`${served.url}/#path=${PATH}&overlay=stage1&runs=5`);
    await page.getByText("lowest to highest of 5 seeds").waitFor();
    await page.locator("#sub-tiles button").first().click();
    assert.deepEqual(await accessFaults(page), []);
    await page.locator("#show-jobs").click();
    await page.getByText(/No jobs yet|Choose a job/).waitFor();
    assert.deepEqual(await accessFaults(page), []);
  }, { colorScheme });
}

pageTest("a phone needs no scrolling to the side", async (page) => {
  for (const query of ["", `path=${PATH}&overlay=stage1`, "view=jobs"]) {
    await page.goto("about:blank");
    await page.goto(`${served.url}/#${query}`);
    if (query.startsWith("path")) await labelOf(page);
    const [content, screen] = await page.evaluate(
      "[document.documentElement.scrollWidth, innerWidth]",
    ) as [number, number];
    assert.ok(content <= screen, `${query}: ${content} > ${screen}`);
  }
}, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });

pageTest("on a phone the image fills the room that it gets", async (page) => {
  await page.goto(`${served.url}/#path=${PATH}`);
  await labelOf(page);
  const width = 512; // px of the image
  await page.waitForURL(({ hash }) => {
    const zoom = Number(new URLSearchParams(hash.slice(1)).get("zoom"));
    return Math.abs(zoom * width - 360) < 2;
  });
}, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });

pageTest("with a token the page asks for it, and then works", async (page) => {
  await page.goto(`${local(closed)}/#path=${PATH}`);
  const token = page.getByLabel("This server asks for a token");
  await token.fill("wrong-wrong-wrong-wrong");
  await page.getByRole("button", { name: "Enter" }).click();
  await token.waitFor(); // asked again
  await token.fill(TOKEN);
  await page.getByRole("button", { name: "Enter" }).click();
  await labelOf(page);
  await page.waitForURL(/zoom=/);
  await until(
    page,
    `[...document.querySelectorAll("#sub-tiles img")].every((image) => image.naturalWidth > 0)`,
  );
  assert.equal(await page.locator("#image-error").innerText(), "");
  assert.ok(!page.url().includes(TOKEN));
}, { allowed: /status of 401/ });

pageTest("a page of another origin does not get in", async (page) => {
  const other = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () =>
      new Response("<!doctype html>", {
        headers: { "content-type": "text/html" },
      }),
  );
  try {
    await page.goto(`http://127.0.0.1:${other.addr.port}/`);
    const before = served.log.length;
    const seen = await page.evaluate(`(async () => {
      const image = new Image();
      const loaded = new Promise((done) => {
        image.onload = () => done("shown");
        image.onerror = () => done("refused");
      });
      image.src = "${served.url}/v1/image_files/0/0_0.jpeg?path=${PATH}";
      const read = await fetch("${served.url}/v1/data")
        .then(() => "read", () => "refused");
      const posted = await fetch("${served.url}/v1/uploads", {
        method: "POST", mode: "no-cors", body: "x",
      }).then(() => "sent", () => "refused");
      return [await loaded, read, posted];
    })()`) as string[];
    assert.deepEqual(seen, ["refused", "refused", "refused"]);
    // Lines of earlier pages may still come: each path is looked for by name.
    for (
      const path of ["/v1/image_files/0/0_0.jpeg", "/v1/data", "/v1/uploads"]
    ) {
      await eventually(
        `${path} is refused`,
        () =>
          served.log.slice(before).some((line) =>
            line.path === path && line.code === 403
          ),
      );
    }
  } finally {
    await other.shutdown();
  }
}, { allowed: /./ });

/** Its address on this machine. */
function local({ url }: Served): string {
  return url.replace("0.0.0.0", "127.0.0.1");
}

Deno.test("the script is what `deno task viewer` makes of its modules", async () => {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["bundle", "--quiet", "--minify", "--platform", "browser"],
      "viewer/main.ts",
    ],
    cwd: ROOT,
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  const kept = await Deno.readFile(join(ROOT, "viewer/main.min.js"));
  assert.ok(
    stdout.length > 0 && Buffer.compare(kept, stdout) === 0,
    "run `deno task viewer`",
  );
});

Deno.test("the page weighs at most 400 kB, and a third of it compressed", async () => {
  const sizes = new Map<string, number>([["", 0]]);
  let bytes = 0, compressed = 0;
  for (const path of sizes.keys()) { // those it names are added on the way
    const response = await fetch(`${served.url}/${path}`);
    assert.equal(response.status, 200, path);
    const text = await response.text();
    for (
      const [, name] of text.matchAll(
        /(?:src|href)="viewer\/([^"]+)"/g,
      )
    ) sizes.set(`viewer/${name}`, 0);
    bytes += new TextEncoder().encode(text).length;
    compressed += await compressedBytes(path);
  }
  assert.equal(sizes.size, 5); // with the page itself
  assert.ok(bytes <= 400_000, `${bytes} bytes`);
  assert.ok(compressed <= 130_000, `${compressed} bytes compressed`);
});

/** Bytes of a file as it crosses the network: fetch tells those unpacked. */
async function compressedBytes(path: string): Promise<number> {
  const message = await new Promise<IncomingMessage>((done, fail) => {
    const headers = { "accept-encoding": "gzip" };
    get(`${served.url}/${path}`, { headers }, done).on("error", fail);
  });
  assert.equal(message.headers["content-encoding"], "gzip");
  let bytes = 0;
  for await (const chunk of message) bytes += chunk.length;
  return bytes;
}

Deno.test("the page may load nothing from elsewhere, nor be framed", async () => {
  const response = await fetch(served.url);
  await response.body?.cancel();
  const policy = response.headers.get("content-security-policy")!;
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /frame-ancestors 'none'/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  assert.equal(response.headers.get("x-content-type-options"), "nosniff");
  const script = await fetch(`${served.url}/viewer/main.js`);
  assert.match(script.headers.get("content-type")!, /^text\/javascript/);
  const etag = script.headers.get("etag")!;
  await script.body?.cancel();
  const again = await fetch(`${served.url}/viewer/main.js`, {
    headers: { "if-none-match": etag },
  });
  assert.equal(again.status, 304);
  const none = await fetch(`${served.url}/viewer/..%2fdeno.json`);
  await none.body?.cancel();
  assert.equal(none.status, 404);
});
