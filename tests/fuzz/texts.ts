/**
 * Damaged manifests, tables, logs, configurations, checkpoints and polygons.
 *
 * @module
 */
import { join } from "node:path";
import { readConfig } from "../../lib/commands/shared/config_flags.ts";
import { checkLeaks } from "../../lib/data/leaks.ts";
import { readManifest } from "../../lib/data/manifest.ts";
import { readAnnotations } from "../../lib/data/annotations/file.ts";
import { placesOn } from "../../lib/data/annotations/places.ts";
import { readRois, readRoisOf } from "../../lib/data/rois.ts";
import { startEngine } from "../../lib/engine/select.ts";
import {
  fillPolygons,
  readPolygons,
} from "../../lib/image/foreground/polygons.ts";
import {
  readCheckpoint,
  readCheckpointInfo,
  writeCheckpoint,
} from "../../lib/model/checkpoint.ts";
import { withSettings } from "../../lib/model/config.ts";
import { disposeParameters } from "../../lib/model/parameters.ts";
import { preset } from "../../lib/model/presets.ts";
import { readBatch } from "../../lib/serve/tables/batch.ts";
import { readLog } from "../../lib/train/run_log.ts";
import { toyModel } from "../model/toy.ts";
import { damaged, damagedText, textOf } from "./mutate.ts";
import { ends, type Target } from "./target.ts";

const MAX_FAULTS = 25; // lines of one message about a table

/** A target that reads a text out of a file. */
function fileTarget(
  name: string,
  seeds: readonly string[],
  read: (path: string) => Promise<void>,
  prepare: (folder: string) => Promise<void> = async () => {},
): Target {
  return {
    name,
    async open(folder) {
      await prepare(folder);
      const path = join(folder, name);
      return {
        input: (random) => damagedText(seeds, random),
        async run(input) {
          await Deno.writeFile(path, input);
          await read(path);
        },
        async [Symbol.asyncDispose]() {},
      };
    },
  };
}

const MANIFESTS = [
  'image,label,split,fold,group,mpp,rois\na.png,x,train,1,p,0.5,r.csv\n"b.png",y,test,2,q,1,\n',
  "image,label\r\na.png,1\r\nhttps://h.org/b.tif,2\r\n",
];

const manifests = fileTarget("manifests", MANIFESTS, async (path) => {
  const lines = { lines: MAX_FAULTS };
  await ends(async () => {
    const manifest = await readManifest(path);
    await checkLeaks(manifest.entries);
    const rois = await readRois(manifest);
    for (const entry of manifest.entries) await rois?.of(entry);
  }, lines);
  await ends(() => readBatch(path), lines);
}, async (folder) => {
  await Deno.writeTextFile(join(folder, "a.png"), "a");
  await Deno.writeTextFile(join(folder, "b.png"), "b");
  await Deno.writeTextFile(join(folder, "r.csv"), "x,y\n1,2\n");
});

const OBJECTS = [
  "image,left,top,right,bottom,type\na.png,1,2,3,4,needle\n",
  "image,x,y\na.png,1.5,2\n",
];

const objects = fileTarget("regions.csv", OBJECTS, async (path) => {
  await ends(async () => {
    const folder = path.slice(0, path.lastIndexOf("/"));
    await readRois({ folder, entries: [] });
  }, { lines: MAX_FAULTS });
});

const ANNOTATIONS = [
  JSON.stringify({
    type: "FeatureCollection",
    features: [{
      type: "Feature",
      id: "7f",
      geometry: {
        type: "MultiPolygon",
        coordinates: [[[[1, 2], [30, 4], [5, 21], [1, 2]], [[4, 5], [9, 6], [
          7,
          8,
        ], [4, 5]]]],
      },
      properties: { classification: { name: "Tumor" } },
    }, {
      type: "Feature",
      geometry: {
        type: "GeometryCollection",
        geometries: [{ type: "MultiPoint", coordinates: [[1, 2], [3.5, 4]] }],
      },
    }],
  }),
  JSON.stringify({
    images: [{ id: 1, file_name: "a.png", width: 100, height: 80 }],
    annotations: [
      { id: 1, image_id: 1, category_id: 2, bbox: [1, 2, 30, 4], iscrowd: 0 },
      { image_id: 1, segmentation: [[1, 2, 30, 4, 5, 6]], category_id: 2 },
      { image_id: 1, segmentation: { counts: "a" }, bbox: [1, 2, 3, 4] },
    ],
    categories: [{ id: 2, name: "sign" }],
  }),
  `<?xml version="1.0"?>
<ASAP_Annotations>
<Annotations>
<Annotation Name="A" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58"><Coordinates>
<Coordinate Order="0" X="1" Y="2"/><Coordinate Order="1" X="30" Y="4.5"/>
<Coordinate Order="2" X="5" Y="60"/></Coordinates></Annotation>
<Annotation Name="B" Type="PointSet" PartOfGroup="None"><Coordinates>
<Coordinate Order="0" X="1" Y="2"/></Coordinates></Annotation>
</Annotations>
<AnnotationGroups><Group Name="Tumor" PartOfGroup="None"/></AnnotationGroups>
</ASAP_Annotations>
`,
];

const PLACES = Array.from({ length: 80 }, (_, i) => ({
  x: 10 * (i % 10) + 5,
  y: 10 * Math.floor(i / 10) + 5,
}));

const annotations = fileTarget("annotations", ANNOTATIONS, async (path) => {
  const folder = path.slice(0, path.lastIndexOf("/"));
  const lines = { lines: MAX_FAULTS }; // damage may make it a table
  await ends(async () => {
    const read = await readAnnotations(path);
    const objects = "objects" in read
      ? read.objects
      : read.images.flatMap(({ objects }) => objects);
    placesOn(objects, PLACES, { within: 4 });
  }, lines);
  await ends(async () => {
    const entry = {
      image: "a.png",
      path: join(folder, "a.png"),
      label: "x",
      classIndex: 0,
      manifest: "m.csv",
      line: 2,
    };
    await (await readRoisOf(path, { entries: [entry] })).of(entry);
  }, lines);
});

const LOGS = [
  '{"type":"run","seed":1}\n{"type":"epoch","epoch":1,"loss":0.5,"seconds":1}\n',
];

const logs = fileTarget("logs", LOGS, (path) => ends(() => readLog(path)));

const CONFIGS = [JSON.stringify(preset("needle"), null, 1)];

const configs = fileTarget("configurations", CONFIGS, async (path) => {
  await ends(() => readConfig(path));
  const text = await Deno.readTextFile(path);
  const settings = text.split("\n").map((line) => line.replace(":", "="));
  await ends(() =>
    Promise.resolve(withSettings(preset("needle"), settings.slice(0, 3)))
  );
});

const POLYGONS = [
  JSON.stringify({
    type: "FeatureCollection",
    features: [{
      type: "Feature",
      geometry: {
        type: "Polygon",
        coordinates: [[[0, 0], [9, 0], [9, 9], [0, 0]], [[1, 1], [2, 1], [
          2,
          2,
        ], [1, 1]]],
      },
    }, {
      type: "Feature",
      geometry: {
        type: "MultiPolygon",
        coordinates: [[[[1, 2], [3, 4], [5, 1], [1, 2]]]],
      },
    }],
  }),
];

const polygons = fileTarget("polygons", POLYGONS, async (path) => {
  await ends(async () => {
    const found = await readPolygons(path);
    fillPolygons(found, { rows: 8, columns: 10 }, { width: 100, height: 80 });
  });
});

const checkpoints: Target = {
  name: "checkpoints",
  async open(folder) {
    await startEngine("wasm");
    const path = join(folder, "checkpoint.safetensors");
    const model = toyModel();
    await writeCheckpoint(path, {
      model,
      epoch: 1,
      seed: 1,
      metrics: { loss: 0.5 },
      trainer: { steps: {}, choice: { bestEpoch: 1, bestValue: null } },
      trainerTensors: new Map(),
    });
    disposeParameters(model.parameters);
    const whole = await Deno.readFile(path);
    const header = 8 + Number(new DataView(whole.buffer).getBigUint64(0, true));
    return {
      input(random) {
        if (random.below(4) === 0) return damaged([whole], random);
        // Most faults in the header: the values are numbers as any others.
        const text = textOf(whole.subarray(8, header));
        const changed = damagedText([text], random);
        const bytes = new Uint8Array(
          8 + changed.length + whole.length - header,
        );
        new DataView(bytes.buffer)
          .setBigUint64(0, BigInt(changed.length), true);
        bytes.set(changed, 8);
        bytes.set(whole.subarray(header), 8 + changed.length);
        return bytes;
      },
      async run(input) {
        await Deno.writeFile(path, input);
        await ends(() => readCheckpointInfo(path));
        await ends(async () => {
          const { model } = await readCheckpoint(path);
          disposeParameters(model.parameters);
        });
      },
      async [Symbol.asyncDispose]() {},
    };
  },
};

export const texts: readonly Target[] = [
  manifests,
  objects,
  annotations,
  logs,
  configs,
  polygons,
  checkpoints,
];
