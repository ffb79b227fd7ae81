/** `--encoder`: a checkpoint whose encoder's file lies elsewhere than in training. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fixtureNetwork, onnxFile } from "../encoder/onnx_files.ts";
import { testEncoder } from "../encoder/runtime.ts";
import { imageOf, withServer } from "../serve/served.ts";
import {
  assertFailsInOneLine,
  drawAndTrain,
  folderOfFile,
  succeed,
  zoomin,
} from "./process.ts";

const TRAIN = [
  ...["train", "--data", "set/manifest.csv", "--preset", "needle"],
  ...["--set", "training.dense.copies=0", "--set", "evaluation.samples=4"],
  ...["--epochs", "1", "--backend", "wasm"],
];

const folder = folderOfFile(drawAndTrain);
const IMAGE = "set/images/test_00000.png";

/** Trains FOLDER/models/first on an encoder that then moves to moved.onnx. */
let trained: Promise<void> | undefined;
function train(): Promise<void> {
  trained ??= (async () => {
    const file = onnxFile(fixtureNetwork());
    await Deno.writeFile(join(folder, "first.onnx"), file);
    await succeed(
      folder,
      ...[...TRAIN, "--out", "models/first", "--encoder", "first.onnx"],
    );
    await Deno.rename(join(folder, "first.onnx"), join(folder, "moved.onnx"));
    const other = { ...fixtureNetwork(), metadata: { other: "file" } };
    await Deno.writeFile(join(folder, "other.onnx"), onnxFile(other));
  })();
  return trained;
}

function classify(...argv: string[]) {
  return zoomin(
    folder,
    ...["classify", "--checkpoint", "models/first", "--backend", "wasm"],
    ...["--json", ...argv, IMAGE],
  );
}

testEncoder(
  "a checkpoint is used with its encoder in another place",
  async () => {
    await train();
    const right = ["--encoder", "moved.onnx"];
    const { code, stdout, stderr } = await classify(...right);
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).subTiles.length, 4);
    const { stdout: report } = await succeed(
      folder,
      ...["eval", "--checkpoint", "models/first", "--data", "set/manifest.csv"],
      ...["--backend", "wasm", "--json", ...right],
    );
    assert.equal(JSON.parse(report).images, 8);
  },
);

testEncoder(
  "a file that is not the checkpoint's encoder is refused in a line",
  async () => {
    await train();
    const none = await classify();
    assertFailsInOneLine(none, {
      code: 1,
      message:
        /^Cannot find the encoder of the checkpoint: there is no file \S+first\.onnx; give it with --encoder FILE\.onnx$/,
    });
    assertFailsInOneLine(await classify("--encoder", "other.onnx"), {
      code: 1,
      message:
        /^Cannot use other\.onnx as an encoder: it is another one than .*SHA-256/,
    });
  },
);

testEncoder(
  "a server finds the encoders of its models among the files given",
  async () => {
    await train();
    const [moved, other] = await Promise.all(
      ["moved.onnx", "other.onnx"].map((name) =>
        Deno.realPath(join(folder, name))
      ),
    );
    const answers = async (
      encoderFiles: string[],
      method: string,
      path: string,
    ) => {
      let found: [status: number, body: string] | undefined;
      await withServer(folder, { encoderFiles }, async (url) => {
        const isImage = path === "classify";
        const response = await fetch(`${url}/v1/${path}`, {
          method,
          ...(isImage && {
            headers: { "Content-Type": "image/png" },
            body: await imageOf(folder),
          }),
        });
        found = [response.status, await response.text()];
      });
      return found!;
    };
    const right = await answers([other!, moved!], "POST", "classify");
    assert.equal(right[0], 200, right[1]);
    for (const files of [[other!], [other!, other!]]) {
      const [status, body] = await answers(files, "POST", "models/first/load");
      assert.equal(status, 409, body);
      assert.match(body, /SHA-256/);
      assert.ok(!body.includes(folder), body);
    }
  },
);

Deno.test("a checkpoint without an encoder takes no file of one", async () => {
  const result = await zoomin(
    folder,
    ...["classify", "--checkpoint", "run", "--backend", "wasm"],
    ...["--encoder", "none.onnx", IMAGE],
  );
  assertFailsInOneLine(result, {
    code: 2,
    message: /^run was trained without an encoder: leave out --encoder$/,
  });
  const serve = ["serve", "--models", "set", "--encoder", "none.onnx"];
  assertFailsInOneLine(await zoomin(folder, ...serve), {
    code: 2,
    message: /^--encoder none\.onnx does not exist: name a file$/,
  });
});
