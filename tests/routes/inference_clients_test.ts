/**
 * Triton's own client against our server, each a process of its own.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { post, serverOfFile } from "../serve/served.ts";
import { output, programsOf, PYTHON_REQUIRED } from "../python.ts";

const SCRIPT = fileURLToPath(
  new URL("./inference_clients.py", import.meta.url),
);
const IMAGE = "test_00000.png";

// The one the extension was built against, and what a user would get today.
const PACKAGES = ["tritonclient[http]==2.73.*", "tritonclient[http]"];

interface Told {
  label: string[];
  probabilities: number[][];
  id: string;
  binary: boolean;
}

interface Printed {
  live: boolean;
  ready: boolean;
  extensions: string[];
  metadata: { inputs: unknown[] };
  answers: Record<string, Told>;
  refusals: Record<string, { status: string; message: string }>;
}

if (PYTHON_REQUIRED) {
  const server = serverOfFile("--workers", "1");
  for (const requirement of PACKAGES) {
    Deno.test(`${requirement} classifies images`, async () => {
      const python = join(await programsOf(requirement), "python");
      const image = join(server.folder, "set", "images", IMAGE);
      const { data, info } = await sharp(image).removeAlpha().raw()
        .toBuffer({ resolveWithObject: true });
      const pixels = join(server.folder, "pixels.raw");
      await Deno.writeFile(pixels, data);
      const printed = JSON.parse(
        await output(python, [
          ...[SCRIPT, new URL(server.url).host, "first", image, pixels],
          ...[String(info.height), String(info.width), `images/${IMAGE}`],
        ]),
      ) as Printed;
      await assertPrinted(printed, server.url);
    });
  }
} else {
  Deno.test({
    name: "Triton's client classifies images",
    ignore: true, // needs ZOOMIN_REQUIRE_CLIENTS=1
    fn() {},
  });
}

async function assertPrinted(printed: Printed, url: string): Promise<void> {
  const { live, ready, extensions, metadata, answers, refusals } = printed;
  assert.deepEqual([live, ready], [true, true]);
  assert.deepEqual(extensions, ["binary_tensor_data"]);
  assert.equal(metadata.inputs.length, 3);
  const direct = await (await post(`${url}/v1/classify`, {
    path: `images/${IMAGE}`,
    seed: 3,
  })).json();
  const expected = Object.values<number>(direct.probabilities);
  assert.equal(Object.keys(answers).length, 16);
  for (const [name, { label, probabilities }] of Object.entries(answers)) {
    const images = name === "column" || name === "pixels" ? 2 : 1;
    assert.deepEqual(label, new Array(images).fill(direct.label), name);
    assert.equal(probabilities.length, images, name);
    for (const row of probabilities) {
      row.forEach((p, i) =>
        assert.ok(Math.abs(p - expected[i]!) < 1e-5, `${name}: ${row}`)
      );
    }
  }
  assert.equal(answers["JSON out"]!.id, "JSON out");
  assert.equal(answers["JSON out"]!.binary, false);
  assert.equal(answers["bytes out"]!.binary, true);
  assert.equal(answers.bytes!.binary, true); // the client asks for it
  const statuses = Object.entries(refusals)
    .map(([name, { status, message }]) => [name, status, message.slice(0, 6)]);
  assert.deepEqual(statuses, [
    ["no image", "415", "Cannot"],
    ["datatype", "400", "The in"],
    ["model", "404", "There "],
  ]);
}
