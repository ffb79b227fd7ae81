/**
 * Encoders from ONNX files: against plain loops over the fixture's weights, and
 * PyTorch's values of EfficientNet-Lite0; and the files that are refused.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import type {
  EncoderConfig,
  EncoderOutput,
} from "../../lib/encoder/encoder.ts";
import { openOnnxEncoder } from "../../lib/encoder/onnx.ts";
import { type OnnxEngine, Session } from "../../lib/encoder/onnx/runtime.ts";
import { resizer } from "../../lib/encoder/resize.ts";
import { EncoderError } from "../../lib/errors.ts";
import { withFolder } from "../data/folder.ts";
import { maxError } from "../engines.ts";
import { LITE0, LITE0_SETTINGS } from "./lite0.ts";
import { testEncoder } from "./runtime.ts";
import {
  FIXTURE,
  fixtureNetwork,
  fixtureWeights,
  type Layer,
  type Network,
  onnxFile,
  TYPES,
} from "./onnx_files.ts";

const OUTPUTS: EncoderOutput[] = [
  { name: "s4", window: 12, pooling: "both" },
  { name: "s8", window: 0, pooling: "mean" },
];

/** Settings of a file, with `changes`. */
async function settingsOf(
  path: string,
  changes: Partial<EncoderConfig> = {},
): Promise<EncoderConfig> {
  const bytes = await Deno.readFile(path);
  return {
    path,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    scale: 1,
    inputSize: null,
    mean: [0.5, 0.4, 0.3],
    deviation: [0.25, 0.2, 0.3],
    outputs: OUTPUTS,
    channels: 16 + 12,
    ...changes,
  };
}

/** Pictures by a formula, `[count, height, width, 3]` in [0, 1]. */
function pictures(count: number, height: number, width: number) {
  const data = new Float32Array(count * height * width * 3)
    .map((_, i) => (i * i % 251) / 250);
  return { data, count, height, width };
}

/** One 3 x 3 convolution of stride 2 with zeros around, then max(0, x). */
function convolved(maps: number[][][], layer: Layer): number[][][] {
  const height = Math.ceil(maps[0]!.length / 2);
  const width = Math.ceil(maps[0]![0]!.length / 2);
  return Array.from(
    { length: layer.to },
    (_, to) =>
      Array.from(
        { length: height },
        (_, y) =>
          Array.from({ length: width }, (_, x) => {
            let sum = layer.bias[to]!;
            for (let from = 0; from < layer.from; from++) {
              for (let dy = 0; dy < 3; dy++) {
                for (let dx = 0; dx < 3; dx++) {
                  const weight = layer
                    .weights[((to * layer.from + from) * 3 + dy) * 3 + dx]!;
                  sum += weight *
                    (maps[from]![2 * y + dy - 1]?.[2 * x + dx - 1] ?? 0);
                }
              }
            }
            return Math.max(0, sum);
          }),
      ),
  );
}

/** The fixture's maps at strides 4 and 8, of picture `index`. */
function fixtureMaps(
  { data, height, width }: ReturnType<typeof pictures>,
  index: number,
  { mean, deviation }: EncoderConfig,
): { s4: number[][][]; s8: number[][][] } {
  let maps = [0, 1, 2].map((channel) =>
    Array.from(
      { length: height },
      (_, y) =>
        Array.from({ length: width }, (_, x) => {
          const value = data[((index * height + y) * width + x) * 3 + channel]!;
          return (value - mean[channel]!) / deviation[channel]!;
        }),
    )
  );
  const [s2, s4, s8] = fixtureWeights().layers.map((layer) =>
    maps = convolved(maps, layer)
  );
  assert.ok(s2);
  return { s4: s4!, s8: s8! };
}

/** `map` where two neighbours of whole cells meet, by plain bilinear steps. */
function bilinear(map: number[][], x: number, y: number): number {
  const x0 = Math.floor(x), y0 = Math.floor(y);
  const at = (row: number, column: number) =>
    map[Math.min(Math.max(row, 0), map.length - 1)]![
      Math.min(Math.max(column, 0), map[0]!.length - 1)
    ]!;
  const fx = x - x0, fy = y - y0;
  return (1 - fy) * ((1 - fx) * at(y0, x0) + fx * at(y0, x0 + 1)) +
    fy * ((1 - fx) * at(y0 + 1, x0) + fx * at(y0 + 1, x0 + 1));
}

/** `map` pooled over 3 x 3 cells, those that there are. */
function pooled(
  map: number[][],
  pool: (values: number[]) => number,
): number[][] {
  return map.map((row, y) =>
    row.map((_, x) =>
      pool(
        [-1, 0, 1].flatMap((dy) =>
          [-1, 0, 1].map((dx) => map[y + dy]?.[x + dx])
        )
          .filter((value) => value !== undefined),
      )
    )
  );
}

const mean = (values: number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const most = (values: number[]) => Math.max(...values);

const PLACES = [
  [{ x: 8, y: 8 }, { x: 13.5, y: 6.25 }, { x: 0, y: 31.5 }],
  [{ x: 39, y: 1 }],
];

/** The features that plain loops find. */
function expectedFeatures(settings: EncoderConfig): number[] {
  const two = pictures(2, 32, 40);
  return PLACES.flatMap((places, index) => {
    const { s4, s8 } = fixtureMaps(two, index, settings);
    return places.flatMap(({ x, y }) => [
      ...[mean, most].flatMap((pool) =>
        s4.map((map) => bilinear(pooled(map, pool), x / 4 - 0.5, y / 4 - 0.5))
      ),
      ...s8.map((map) => bilinear(map, x / 8 - 0.5, y / 8 - 0.5)),
    ]);
  });
}

for (const engine of ["wasm", "webgpu"] satisfies OnnxEngine[]) {
  testEncoder("maps pooled about places, as plain loops do", async () => {
    const settings = await settingsOf(FIXTURE);
    const encoder = await openOnnxEncoder(settings, { engine });
    try {
      const found = await encoder.features(pictures(2, 32, 40), PLACES);
      const expected = expectedFeatures(settings);
      assert.equal(found.length, 4 * encoder.channels);
      assert.ok(maxError(found, Float32Array.from(expected)) < 1e-5);
    } finally {
      await encoder.dispose();
    }
  }, { engine });

  testEncoder("a vector and a class token of windows", async () => {
    const settings = await settingsOf(FIXTURE, {
      inputSize: 32,
      outputs: [
        { name: "vector", window: 0, pooling: "mean" },
        { name: "tokens", window: 0, pooling: "mean" },
      ],
      channels: 5 + 12,
    });
    const encoder = await openOnnxEncoder(settings, { engine });
    try {
      assert.equal(encoder.placesAtOnce, 1);
      assert.equal(encoder.margin, 16);
      const three = pictures(3, 32, 32);
      const middle = [{ x: 16, y: 16 }];
      const found = await encoder.features(three, [middle, middle, middle]);
      const { linear } = fixtureWeights();
      const expected = [0, 1, 2].flatMap((index) => {
        const { s8 } = fixtureMaps(three, index, settings);
        const means = s8.map((map) => mean(map.flat()));
        const vector = linear.bias.map((bias, to) =>
          means.reduce(
            (sum, value, i) => sum + value * linear.weights[to * 12 + i]!,
            bias,
          )
        );
        return [...vector, ...s8.map((map) => map[0]![0]!)];
      });
      assert.ok(maxError(found, Float32Array.from(expected)) < 1e-5);
    } finally {
      await encoder.dispose();
    }
  }, { engine });
}

testEncoder(
  "a network that the GPU computes wrongly is refused, or it is right",
  async () => {
    await withFolder(async (folder) => {
      const path = join(folder, "x.onnx");
      const many = (count: number) =>
        Array.from({ length: count }, (_, i) => Math.sin(i * i));
      await Deno.writeFile(
        path,
        onnxFile({
          inputs: [{ name: "pixels", shape: ["n", 3, "h", "w"] }],
          outputs: [{ name: "y", shape: ["n", 8, "h", "w"] }],
          weights: [
            { name: "w0", dims: [6, 3, 1, 1], values: many(18) },
            { name: "w1", dims: [8, 6, 3, 3], values: many(432) },
          ],
          operations: [
            { op: "Conv", inputs: ["pixels", "w0"], outputs: ["x"] },
            {
              op: "Conv",
              inputs: ["x", "w1"],
              outputs: ["y"],
              attributes: { pads: [1, 1, 1, 1] },
            },
          ],
        }),
      );
      const settings = await settingsOf(path, { ...Y, channels: 8 });
      const features = async (engine: OnnxEngine) => {
        const encoder = await openOnnxEncoder(settings, { engine });
        const found = await encoder.features(pictures(2, 32, 40), PLACES);
        await encoder.dispose();
        return found;
      };
      const expected = await features("wasm");
      await features("webgpu").then(
        (found) => assert.ok(maxError(found, expected) < 1e-4),
        ({ message }: Error) =>
          assert.match(
            message,
            /onnxruntime-web computes its output "y" wrongly on this GPU \(off by \d+ %\); run it on the CPU with --backend wasm$/,
          ),
      );
    });
  },
  { engine: "webgpu" },
);

testEncoder(
  "a batch of windows is that of each window, in batches or alone",
  async () => {
    const settings = await settingsOf(FIXTURE, {
      inputSize: 224,
      scale: 2,
      outputs: [{ name: "vector", window: 0, pooling: "mean" }],
      channels: 5,
    });
    const encoder = await openOnnxEncoder(settings, { engine: "wasm" });
    try {
      const many = pictures(35, 20, 20); // three runs of at most 16
      const places = Array.from({ length: 35 }, () => [{ x: 10, y: 10 }]);
      const together = await encoder.features(many, places);
      for (const i of [0, 15, 16, 34]) {
        const size = 20 * 20 * 3;
        const data = many.data.slice(i * size, (i + 1) * size);
        const alone = await encoder.features({ ...many, data, count: 1 }, [
          places[i]!,
        ]);
        const row = together.subarray(i * 5, (i + 1) * 5);
        assert.ok(maxError(row, alone) < 1e-5);
      }
      const stopped = AbortSignal.abort(new Error("enough"));
      await assert.rejects(encoder.features(many, places, stopped), /enough/);
    } finally {
      await encoder.dispose();
    }
  },
);

testEncoder(
  "runs asked for at once are done one after the other, then it is freed",
  async () => {
    const settings = await settingsOf(FIXTURE);
    const encoder = await openOnnxEncoder(settings, { engine: "wasm" });
    const two = pictures(2, 32, 40);
    const runs = Array.from({ length: 3 }, () => encoder.features(two, PLACES));
    const disposed = encoder.dispose();
    const [first, ...others] = await Promise.all(runs);
    for (const other of others) assert.deepEqual(other, first);
    await disposed;
    await encoder.dispose();
    await assert.rejects(encoder.features(two, PLACES), /was disposed of/);
  },
);

testEncoder("the key is of the features, not of the file's name", async () => {
  await withFolder(async (folder) => {
    const copy = join(folder, "copy.onnx");
    await Deno.copyFile(FIXTURE, copy);
    const keys = [];
    for (
      const settings of [
        await settingsOf(FIXTURE),
        await settingsOf(copy),
        await settingsOf(copy, { scale: 2 }),
      ]
    ) {
      const encoder = await openOnnxEncoder(settings, { engine: "wasm" });
      keys.push(encoder.key);
      await encoder.dispose();
    }
    assert.equal(keys[0], keys[1]);
    assert.notEqual(keys[0], keys[2]);
  });
});

testEncoder(
  "blocks of a reduced image have 1024 px of the input a side",
  async () => {
    for (const [scale, pixels] of [[0.5, 2048 ** 2], [1, undefined]] as const) {
      const settings = await settingsOf(FIXTURE, { scale });
      const encoder = await openOnnxEncoder(settings, { engine: "wasm" });
      assert.equal(encoder.blockPixels, pixels);
      await encoder.dispose();
    }
  },
);

interface Golden {
  taps: Record<string, { channelMeans: number[]; at_row1_col2: number[] }>;
}

testEncoder(
  "EfficientNet-Lite0's taps are PyTorch's",
  async () => {
    const golden: Golden = JSON.parse(
      await Deno.readTextFile(LITE0!.replace(/\.onnx$/, ".golden.json")),
    );
    const size = { height: 96, width: 130 };
    const picture = Float32Array.from({ length: 96 * 130 * 3 }, (_, i) => {
      const x = Math.floor(i / 3) % 130, y = Math.floor(i / 390);
      const values = [3 * x + 5 * y, x * y, x * x + y];
      return values[i % 3]! % 256 / 255;
    });
    const data = new Float32Array(picture.length);
    const write = resizer({
      ...LITE0_SETTINGS,
      from: size,
      to: size,
      scale: { x: 1, y: 1 },
    });
    write(picture, data, 0);
    const session = await Session.open(LITE0!, { engine: "wasm" });
    try {
      const names = Object.keys(golden.taps);
      const dims = [1, 3, 96, 130];
      const found = await session.run({ name: "pixels", data, dims }, names);
      for (const name of names) {
        const { data, dims: [, channels, height, width] } = found.get(name)!;
        const { channelMeans, at_row1_col2: at } = golden.taps[name]!;
        const plane = height! * width!;
        for (let channel = 0; channel < channels!; channel++) {
          const map = [
            ...data.subarray(channel * plane, (channel + 1) * plane),
          ];
          const faults = [
            mean(map) - channelMeans[channel]!,
            map[width! + 2]! - at[channel]!,
          ].map(Math.abs);
          assert.ok(Math.max(...faults) < 1e-4, `${name} ${channel} ${faults}`);
        }
      }
    } finally {
      await session.dispose();
    }
  },
  { ignore: LITE0 === undefined },
);

const PIXELS = { name: "pixels", shape: ["n", 3, "h", "w"] };
const SAME: Network = {
  inputs: [PIXELS],
  outputs: [{ name: "y", shape: ["n", 3, "h", "w"] }],
  operations: [{ op: "Relu", inputs: ["pixels"], outputs: ["y"] }],
};
const Y: Partial<EncoderConfig> = {
  outputs: [{ name: "y", window: 0, pooling: "mean" }],
  channels: 3,
};

/** Files that are refused: what is in them, the settings, and the message. */
const REFUSED: [
  name: string,
  network: Network | string,
  changes: Partial<EncoderConfig>,
  message: RegExp,
][] = [
  ["text", "no network", {}, /x\.onnx as an encoder: it is no ONNX file \(/],
  ["nothing", "", {}, /it is no ONNX file \(it has no graph\)/],
  [
    "another file",
    SAME,
    { ...Y, sha256: "0".repeat(64) },
    /it is another one than the checkpoint was trained with \(SHA-256 [0-9a-f]{12}\.\.\., not 000000000000\.\.\.\); give that file$/,
  ],
  [
    "two inputs",
    {
      ...SAME,
      inputs: [PIXELS, { ...PIXELS, name: "mask" }],
      operations: [{ op: "Add", inputs: ["pixels", "mask"], outputs: ["y"] }],
    },
    Y,
    /it has 2 inputs \("pixels", "mask"\); export it with the pixels as the only one/,
  ],
  [
    "grey input",
    { ...SAME, inputs: [{ name: "pixels", shape: ["n", 1, "h", "w"] }] },
    Y,
    /its input "pixels" has the shape \[n, 1, h, w\]; it must be \[n, 3, height, width\]$/,
  ],
  [
    "channels last",
    { ...SAME, inputs: [{ name: "pixels", shape: ["n", "h", "w", 3] }] },
    Y,
    /must be \[n, 3, height, width\]: channels before rows and columns$/,
  ],
  [
    "input of halves",
    {
      ...SAME,
      inputs: [{ ...PIXELS, type: TYPES.float16 }],
      outputs: [{ ...SAME.outputs[0]!, type: TYPES.float16 }],
    },
    Y,
    /its input "pixels" is float16; export it with pixels of float32/,
  ],
  [
    "fixed size",
    {
      ...SAME,
      inputs: [{ name: "pixels", shape: [1, 3, 64, 64] }],
      outputs: [{ name: "y", shape: [1, 3, 64, 64] }],
    },
    Y,
    /its input has 64 x 64 px, not any size; set network\.encoder\.inputSize = 64/,
  ],
  [
    "an oblong",
    {
      ...SAME,
      inputs: [{ name: "pixels", shape: [1, 3, 64, 32] }],
      outputs: [{ name: "y", shape: [1, 3, 64, 32] }],
    },
    { ...Y, inputSize: 64 },
    /its input has 64 x 32 px; export it with a square or any size/,
  ],
  [
    "no such output",
    SAME,
    { outputs: [{ name: "z", window: 0, pooling: "mean" }] },
    /it has no output "z"; it has y$/,
  ],
  [
    "another number of features",
    SAME,
    { ...Y, channels: 4 },
    /its outputs make 3 features of a place, not 4 as the configuration says/,
  ],
  [
    "infinite",
    {
      ...SAME,
      operations: [{ op: "Log", inputs: ["zeros"], outputs: ["y"] }, {
        op: "Sub",
        inputs: ["pixels", "pixels"],
        outputs: ["zeros"],
      }].reverse(),
    },
    Y,
    /its output "y" is NaN or infinite on black pixels/,
  ],
  [
    "a number",
    {
      ...SAME,
      outputs: [{ name: "y", shape: [1] }],
      operations: [{ op: "Size", inputs: ["pixels"], outputs: ["size"] }, {
        op: "Cast",
        inputs: ["size"],
        outputs: ["cast"],
        attributes: { to: 1 },
      }, { op: "Unsqueeze", inputs: ["cast", "zero"], outputs: ["y"] }],
      weights: [{ name: "zero", dims: [1], values: [0], type: TYPES.int64 }],
    },
    Y,
    /its output "y" has the shape \[1\]; it must be \[n, C, h, w\], \[n, C\] or \[n, tokens, C\]/,
  ],
  [
    "a vector of any size",
    fixtureNetwork(),
    {
      outputs: [{ name: "vector", window: 0, pooling: "mean" }],
      channels: 5,
    },
    /its output "vector" has the shape \[1, 5\] for 224 px: no maps of a whole stride; set network\.encoder\.inputSize/,
  ],
  [
    "an unknown operation",
    {
      ...SAME,
      operations: [{ op: "Guess", inputs: ["pixels"], outputs: ["y"] }],
    },
    Y,
    /onnxruntime refuses it \(.*Guess.*\); see docs\/encoders\.md/,
  ],
  [
    "weights that are elsewhere",
    {
      ...SAME,
      operations: [{ op: "Add", inputs: ["pixels", "w"], outputs: ["y"] }],
      weights: [{ name: "w", dims: [1], values: [1], external: "x.data" }],
    },
    Y,
    /its weights are in .*x\.data, which is missing; put it beside the file/,
  ],
  [
    "weights in another folder",
    {
      ...SAME,
      operations: [{ op: "Add", inputs: ["pixels", "w"], outputs: ["y"] }],
      weights: [{ name: "w", dims: [1], values: [1], external: "../x.data" }],
    },
    Y,
    /it has weights in \.\.\/x\.data, outside its own folder/,
  ],
];

for (const [name, network, changes, message] of REFUSED) {
  testEncoder(`refused in one line: ${name}`, async () => {
    await withFolder(async (folder) => {
      const path = join(folder, "x.onnx");
      const file = typeof network === "string"
        ? new TextEncoder().encode(network)
        : onnxFile(network);
      await Deno.writeFile(path, file);
      const settings = await settingsOf(path, changes);
      await assert.rejects(
        openOnnxEncoder(settings, { engine: "wasm" }),
        (error: Error) => {
          assert.ok(error instanceof EncoderError, String(error.stack));
          assert.match(error.message, message);
          assert.doesNotMatch(error.message, /\n/);
          return true;
        },
      );
    });
  });
}

Deno.test("refused in one line: no such file, and a folder", async () => {
  await withFolder(async (folder) => {
    const settings = await settingsOf(FIXTURE);
    for (
      const [path, message] of [
        [
          join(folder, "none.onnx"),
          /none\.onnx as an encoder: there is no such/,
        ],
        [folder, /as an encoder: it is no file$/],
      ] as const
    ) {
      await assert.rejects(
        openOnnxEncoder({ ...settings, path }, { engine: "wasm" }),
        { name: "EncoderError", message },
      );
    }
  });
});

testEncoder(
  "a picture whose features are not finite is refused by its output",
  async () => {
    await withFolder(async (folder) => {
      const path = join(folder, "x.onnx");
      await Deno.writeFile(
        path,
        onnxFile({
          ...SAME,
          operations: [{ op: "Sqrt", inputs: ["pixels"], outputs: ["y"] }],
        }),
      );
      const settings = await settingsOf(path, {
        ...Y,
        mean: [0.5, 0, 0],
        deviation: [1, 1, 1],
      });
      const encoder = await openOnnxEncoder(settings, { engine: "wasm" });
      try {
        const dark = pictures(1, 8, 8);
        dark.data.fill(0);
        await assert.rejects(encoder.features(dark, [[{ x: 4, y: 4 }]]), {
          name: "EncoderError",
          message: /its output "y" is NaN or infinite on this picture/,
        });
      } finally {
        await encoder.dispose();
      }
    });
  },
);

for (const engine of ["wasm", "webgpu"] satisfies OnnxEngine[]) {
  testEncoder(
    "weights in a file beside it are read, and part of the hash",
    async () => {
      await withFolder(async (folder) => {
        const path = join(folder, "x.onnx");
        const network = {
          ...SAME,
          operations: [{ op: "Add", inputs: ["pixels", "w"], outputs: ["y"] }],
          weights: [{ name: "w", dims: [1], values: [1], external: "x.data" }],
        };
        const file = onnxFile(network);
        const weights = new Uint8Array(Float32Array.of(0.25).buffer);
        await Deno.writeFile(path, file);
        await Deno.writeFile(join(folder, "x.data"), weights);
        const sha256 = createHash("sha256").update(file).update(weights)
          .digest("hex");
        const settings = await settingsOf(path, {
          ...Y,
          sha256,
          mean: [0, 0, 0],
          deviation: [1, 1, 1],
        });
        const encoder = await openOnnxEncoder(settings, { engine });
        const light = pictures(1, 4, 4);
        light.data.fill(0.5);
        const found = await encoder.features(light, [[{ x: 2, y: 2 }]]);
        assert.deepEqual([...found], [0.75, 0.75, 0.75]);
        await encoder.dispose();
        await Deno.writeFile(
          join(folder, "x.data"),
          new Uint8Array(Float32Array.of(0.5).buffer),
        );
        await assert.rejects(
          openOnnxEncoder(settings, { engine: "wasm" }),
          /another one than the checkpoint was trained with/,
        );
      });
    },
    { engine },
  );
}

Deno.test("the fixture is what its script writes", async () => {
  const file = await Deno.readFile(FIXTURE);
  assert.deepEqual(file, onnxFile(fixtureNetwork()));
});
