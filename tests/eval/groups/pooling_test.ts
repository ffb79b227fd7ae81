import assert from "node:assert/strict";
import type { TableImage } from "../../../lib/data/manifest.ts";
import {
  checkedGroupModel,
  groupTable,
  imageGroups,
  predictGroups,
} from "../../../lib/eval/groups/groups.ts";
import {
  GROUP_POOLINGS,
  meanOf,
  pooledLogits,
  surestProbabilities,
} from "../../../lib/eval/groups/pooling.ts";
import { groupReport, labelReport } from "../../../lib/eval/report.ts";
import { preset } from "../../../lib/model/presets.ts";
import { randomKey, RandomStream } from "../../../kernels/random.ts";
import { testOnWasm } from "../../engines.ts";

const CLASSES = ["no", "yes"];
const EVIDENCE = { sharpness: 2, locations: 50 };

function image(name: string, line: number, more: Partial<TableImage> = {}) {
  return { image: name, path: name, manifest: "t.csv", line, ...more };
}

Deno.test("mean and max of the images of a group", () => {
  const images = [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.9, 0.05, 0.05]];
  assert.deepEqual(
    meanOf(images).map((p) => p.toFixed(9)),
    ["0.500000000", "0.166666667", "0.333333333"],
  );
  assert.deepEqual(surestProbabilities(images, 0), images[1]);
  assert.deepEqual(surestProbabilities(images, 2), images[2]);
  assert.deepEqual(surestProbabilities(images, -1), images[2]);
});

Deno.test("logits of the head mean are those of the mean feature", () => {
  const weights = [[1, -2], [0.5, 3]], bias = [0.1, -0.2];
  const head = (feature: number[]) =>
    bias.map((b, c) =>
      feature.reduce((sum, f, k) => sum + f * weights[k]![c]!, b)
    );
  const features = [[1, 2], [3, -4], [0.5, 0]];
  const pooled = pooledLogits(
    features.map((feature) => ({ logits: head(feature) })),
    -1,
  );
  head(meanOf(features)).forEach((logit, c) =>
    assert.ok(Math.abs(logit - pooled[c]!) < 1e-12)
  );
});

Deno.test("pooled evidence is that of all sub-tiles, as if of one image", () => {
  const random = new RandomStream(randomKey(3));
  const value = () => random.below(2000) / 500 - 2;
  for (const isOfAll of [true, false]) {
    for (const [slope, offset] of [[1, 0], [1.5, 0.3]] as const) {
      const sharpness = 1.7, objects = 12;
      const images = [40, 7, 300].map((locations) =>
        Array.from({ length: locations }, () => [value(), value()])
      );
      // By hand: E over locations, corrected; the background's logit is 0.
      const logitsOf = (locations: number[][], norm: number) => [
        0,
        ...[0, 1].map((k) =>
          slope * Math.log(
              locations.reduce(
                (sum, z) => sum + Math.exp(sharpness * z[k]!),
                0,
              ) / norm,
            ) /
            sharpness + offset
        ),
      ];
      const normOf = (count: number) => isOfAll ? count : objects;
      const parts = images.map((locations) => ({
        logits: logitsOf(locations, normOf(locations.length)),
        evidence: {
          sharpness: sharpness / slope,
          locations: isOfAll ? locations.length : null,
        },
      }));
      const all = images.flat();
      const wanted = logitsOf(all, normOf(all.length));
      pooledLogits(parts, 0).forEach((logit, c) =>
        assert.ok(Math.abs(logit - wanted[c]!) < 1e-9, `${logit} ${wanted[c]}`)
      );
    }
  }
});

Deno.test("a group of images with different labels is named, with their lines", () => {
  const entries = [
    image("a", 2, { group: "P1", label: "yes" }),
    image("b", 3, { group: "P1" }), // not labelled yet
    image("c", 4, { group: "P2", label: "no" }),
    image("d", 5),
  ];
  assert.deepEqual(imageGroups(entries, "t.csv"), [
    { name: "P1", label: "yes", members: [0, 1] },
    { name: "P2", label: "no", members: [2] },
    { name: "d", members: [3] },
  ]);
  assert.throws(
    () =>
      imageGroups(
        [...entries, image("e", 6, { group: "P1", label: "no" })],
        "",
      ),
    {
      name: "DataError",
      message:
        'Cannot predict by group: images of the group "P1" have different labels, "yes" (line 2) and "no" (line 6); correct them, or name another column with --group-column',
    },
  );
  assert.throws(() => imageGroups([image("a", 2)], "t.csv"), {
    message: /images of t\.csv have no groups; name their column/,
  });
});

Deno.test("a model that decides by a close-up has no evidence of a group", () => {
  const { network, ...config } = preset("needle");
  const closeUp = { inputSize: 64, crops: 3 } as unknown as NonNullable<
    typeof network.closeUp
  >;
  const model = {
    classes: CLASSES,
    config: { ...config, network: { ...network, closeUp } },
    calibration: null,
  };
  assert.throws(() => checkedGroupModel("evidence", model), {
    name: "UsageError",
    message: /give --by-group max$/,
  });
  assert.equal(checkedGroupModel("max", model).by, "max");
});

testOnWasm(
  "by group is by image where groups are single, exactly",
  async () => {
    const random = new RandomStream(randomKey(8));
    const entries = Array.from({ length: 30 }, (_, i) => {
      const classIndex = random.below(2);
      return {
        ...image(`${i}.png`, i + 2, { group: `P${i}` }),
        label: CLASSES[classIndex]!,
        classIndex,
      };
    });
    const members = entries.map(() => {
      const p = random.below(1e6) / 1e6;
      const logits = [0, Math.log(p / (1 - p))];
      return {
        probabilities: [1 - p, p],
        part: { logits, evidence: EVIDENCE },
      };
    });
    const images = entries.map((entry, i) => {
      const [no, yes] = members[i]!.probabilities;
      return {
        entry,
        classification: {
          label: yes! > no! ? "yes" : "no",
          probabilities: { no: no!, yes: yes! },
        },
      };
    });
    const byImage = labelReport(images, { classes: CLASSES, seed: 1 });
    for (const by of GROUP_POOLINGS) {
      const groups = await predictGroups(
        imageGroups(entries, "t.csv"),
        members,
        {
          by,
          classes: CLASSES,
          config: preset("needle"),
          calibration: { temperature: 2, bias: 1, images: 40, samples: 4 },
        },
      );
      assert.deepEqual(
        groups.map(({ classification }) => classification),
        images.map(({ classification }) => classification),
      );
      const report = groupReport(groups, { by, classes: CLASSES, seed: 1 });
      assert.deepEqual(report.metrics, byImage.metrics);
      assert.deepEqual(report.confusion, byImage.confusion);
      assert.equal(report.groups, 30);
    }
  },
);

testOnWasm(
  "the evidence of a group is calibrated, and failed images are left out",
  async () => {
    const part = (logit: number) => ({
      probabilities: [0.5, 0.5],
      part: {
        logits: [0, logit],
        evidence: { sharpness: 1, locations: 10 },
      },
    });
    const groups = await predictGroups(
      [
        { name: "P1", label: "yes", members: [0, 1, 2] },
        { name: "P2", members: [2] },
      ],
      [part(1), part(3), undefined],
      {
        by: "evidence",
        classes: CLASSES,
        config: { ...preset("needle"), referenceClass: "no" },
        calibration: { temperature: 2, bias: 0.5, images: 40, samples: 4 },
      },
    );
    const logit = Math.log((Math.E + Math.E ** 3) / 2) / 2 + 0.5;
    const [only, ...others] = groups;
    assert.equal(others.length, 0); // no image of P2 could be read
    assert.equal(only!.images, 2);
    const yes = 1 / (1 + Math.exp(-logit));
    assert.ok(Math.abs(only!.classification.probabilities.yes! - yes) < 1e-6);
    const [header, row] = groupTable(groups, CLASSES).split("\n");
    assert.equal(header, "group,images,label,predicted,p(no),p(yes)");
    assert.match(row!, /^P1,2,yes,yes,0\.\d{6},0\.\d{6}$/);
  },
);
