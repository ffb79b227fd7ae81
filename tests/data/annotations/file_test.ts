import assert from "node:assert/strict";
import { join } from "node:path";
import { readAnnotations } from "../../../lib/data/annotations/file.ts";
import type { AnnotatedObject } from "../../../lib/data/annotations/object.ts";
import { DataError } from "../../../lib/errors.ts";
import { withFolder } from "../folder.ts";

/** What a file with this text holds. The name says nothing of the format. */
async function read(text: string | Uint8Array) {
  return await withFolder(async (folder) => {
    const path = join(folder, "objects");
    await Deno.writeFile(
      path,
      typeof text === "string" ? new TextEncoder().encode(text) : text,
    );
    return await readAnnotations(path);
  });
}

async function objectsIn(text: string): Promise<AnnotatedObject[]> {
  const found = await read(text);
  assert.ok("objects" in found);
  return found.objects;
}

async function assertRefused(text: string | Uint8Array, why: RegExp) {
  await assert.rejects(read(text), (error: Error) => {
    assert.ok(error instanceof DataError, `${error.stack}`);
    assert.match(error.message, why);
    assert.doesNotMatch(error.message, /\n|undefined|\[object/);
    return true;
  });
}

const SQUARE = [[0, 0], [8, 0], [8, 6], [0, 6], [0, 0]];
const HOLE = [[2, 2], [4, 2], [4, 4], [2, 4], [2, 2]];

function feature(geometry: unknown, properties: unknown = {}) {
  return { type: "Feature", id: "7f", geometry, properties };
}

const shape = (type: string, coordinates: unknown) => ({ type, coordinates });

function collection(...features: unknown[]): string {
  return JSON.stringify({ type: "FeatureCollection", features });
}

Deno.test("GeoJSON as QuPath exports it", async () => {
  const tumour = {
    objectType: "annotation",
    classification: { name: "Tumor", color: [200, 0, 0] },
  };
  const features = [
    feature(shape("Polygon", [SQUARE, HOLE]), tumour),
    feature(shape("MultiPolygon", [[SQUARE], [HOLE]]), tumour),
    feature({ ...shape("Point", [3.5, 4]), plane: { z: 0 } }),
    feature(shape("MultiPoint", [[1, 2], [3, 4]]), {
      classification: { names: ["Tumor", "Positive"] },
    }),
    feature(shape("LineString", [[0, 0], [9, 9]])), // a measurement
    feature(null),
    { type: "Feature", geometry: shape("Polygon", [SQUARE]) }, // no properties
    feature({
      type: "GeometryCollection",
      geometries: [shape("Point", [9, 9])],
    }, null),
  ];
  const expected = [
    ["Tumor", 0, 0, 8, 6, 1],
    ["Tumor", 0, 0, 8, 6, 2],
    [undefined, 3.5, 4, 0, 0, undefined],
    ["Tumor: Positive", 1, 2, 0, 0, undefined],
    ["Tumor: Positive", 3, 4, 0, 0, undefined],
    [undefined, 0, 0, 8, 6, 1],
    [undefined, 9, 9, 0, 0, undefined],
  ];
  for (
    const text of [
      collection(...features),
      JSON.stringify(features),
      `\ufeff\n ${collection(...features)}`,
    ]
  ) {
    const objects = await objectsIn(text);
    assert.deepEqual(
      objects.map((
        { type, x, y, width, height, polygons },
      ) => [type, x, y, width, height, polygons?.length]),
      expected,
    );
    assert.equal(objects[0]!.polygons![0]!.length, 2); // the hole
  }
  assert.deepEqual(await objectsIn("[]"), []);
  assert.deepEqual(await objectsIn(collection()), []);
});

Deno.test("an open ring of GeoJSON is closed", async () => {
  const open = feature(shape("Polygon", [SQUARE.slice(0, 4)]));
  const [object] = await objectsIn(collection(open));
  assert.equal(object!.polygons![0]![0]!.length, 5);
});

Deno.test("a fault of GeoJSON is told with its feature", async () => {
  const of = (geometry: unknown) => collection(feature(geometry));
  const faults: [string, RegExp][] = [
    [
      of(shape("Polygon", [[[0, 0], [1, 1]]])),
      /^Cannot read \S+ as GeoJSON annotations: features\[0\] \(id "7f"\)\.coordinates\[0\] is not a ring: .* fewer than 3 corners/,
    ],
    [
      of(shape("Polygon", [[[0, 0], [1, "x"], [2, 2]]])),
      /\[1\]\[1\] is no number/,
    ],
    [of(shape("Point", [1])), /features\[0\].*coordinates is no position/],
    [of(shape("Point", "1, 2")), /is no position: write it as \[x, y\]/],
    [of(shape("MultiPoint", [[1, 2], 3])), /coordinates\[1\] is no position/],
    [of(shape("MultiPolygon", 3)), /coordinates is no list/],
    [of({ type: "Ellipse" }), /a geometry of type "Ellipse": draw it as/],
    [of({}), /a geometry of type missing/],
    [
      of({
        type: "GeometryCollection",
        geometries: [{ type: "GeometryCollection" }],
      }),
      /geometries\[0\]\.geometries is no list/,
    ],
    [collection({ type: "Polygon" }), /features\[0\] is no feature/],
    [collection(5), /features\[0\] is no feature: its type is missing/],
    [
      JSON.stringify({ type: "FeatureCollection" }),
      /its features are no list/,
    ],
    // JSON has no NaN; a number beyond all is read as infinite.
    [of(shape("Point", [1, 1])).replace("1,1", "1,1e999"), /is no position/],
    ['[{"type":"Feature"},', /as JSON annotations: .*; export it again/],
  ];
  for (const [text, why] of faults) await assertRefused(text, why);
  const nested = (depth: number): unknown =>
    depth === 0 ? shape("Point", [1, 2]) : {
      type: "GeometryCollection",
      geometries: [nested(depth - 1)],
    };
  assert.equal((await objectsIn(of(nested(4)))).length, 1);
  await assertRefused(of(nested(5)), /nests collections too deep/);
  await assertRefused(of(nested(50)), /nests collections too deep/);
  await assertRefused("[".repeat(100_000), /as JSON annotations/);
});

const COCO = {
  images: [
    { id: 1, file_name: "a.png", width: 9, height: 9 },
    { id: "b", file_name: "images/b.png" },
  ],
  categories: [{ id: 3, name: "sign", supercategory: "" }],
  annotations: [
    { id: 1, image_id: 1, category_id: 3, bbox: [1, 2, 3, 4], area: 12 },
    {
      id: 2,
      image_id: 1,
      category_id: 3,
      bbox: [0, 0, 8, 6],
      segmentation: [[0, 0, 8, 0, 8, 6], [1, 1, 2, 1, 2, 2, 1, 2]],
    },
    {
      image_id: "b",
      bbox: [5, 5, 1, 1],
      segmentation: { counts: "abc", size: [9, 9] },
      iscrowd: 1,
    },
    { image_id: 1, category_id: null, bbox: [0, 0, 0, 0], segmentation: [] },
  ],
};

Deno.test("COCO: one file of many images", async () => {
  const found = await read(JSON.stringify(COCO, null, 2));
  assert.ok("images" in found);
  const [a, b] = found.images;
  assert.deepEqual([a!.image, b!.image], ["a.png", "images/b.png"]);
  const [box, drawn, point] = a!.objects;
  assert.deepEqual(box, { x: 1, y: 2, width: 3, height: 4, type: "sign" });
  assert.equal(drawn!.polygons!.length, 2);
  assert.deepEqual(drawn!.polygons![0]![0]!.at(-1), { x: 0, y: 0 }); // closed
  assert.deepEqual(point, { x: 0, y: 0, width: 0, height: 0 });
  assert.deepEqual(b!.objects, [{ x: 5, y: 5, width: 1, height: 1 }]);
});

Deno.test("COCO without categories has their ids as types", async () => {
  const { categories: _, ...rest } = COCO;
  const found = await read(JSON.stringify(rest));
  assert.ok("images" in found);
  assert.equal(found.images[0]!.objects[0]!.type, "3");
});

Deno.test("a fault of COCO is told with its annotation", async () => {
  const annotated = (annotation: unknown) =>
    JSON.stringify({ ...COCO, annotations: [annotation] });
  const faults: [string, RegExp][] = [
    [
      annotated({ image_id: 9, bbox: [1, 2, 3, 4] }),
      /as COCO annotations: annotations\[0\] has the image_id 9, which no image has/,
    ],
    [
      annotated({ image_id: 1, category_id: 8, bbox: [1, 2, 3, 4] }),
      /category_id 8, which no category has/,
    ],
    [annotated({ image_id: 1 }), /neither bbox nor segmentation/],
    [
      annotated({ image_id: 1, segmentation: { counts: [] } }),
      /no polygon and no bbox: write its bbox/,
    ],
    [
      annotated({ image_id: 1, bbox: [1, 2, -3, 4] }),
      /annotations\[0\]\.bbox\[2\]/,
    ],
    [annotated({ image_id: 1, bbox: [1, 2, 3] }), /annotations\[0\]\.bbox/],
    [
      annotated({ image_id: 1, segmentation: [[0, 0, 1, 1, 2]] }),
      /segmentation\[0\] has 5 numbers: write x and y of three corners/,
    ],
    [
      annotated({ image_id: 1, segmentation: [[0, 0, 1, 1, 2, 2, 3]] }),
      /segmentation\[0\] has 7 numbers/,
    ],
    [annotated(null), /annotations\[0\] is no object: remove it/],
    [
      annotated({ image_id: 1, bbox: [1, 2, 3, 77] }).replace("77", "1e999"),
      /annotations\[0\]\.bbox\[3\]/,
    ],
    [JSON.stringify({ images: {}, annotations: [] }), /its images are no list/],
    [
      JSON.stringify({ images: [{}], annotations: [] }),
      /images\[0\]\.id is missing or wrong: id must be a number or a text/,
    ],
    [
      JSON.stringify({
        images: [COCO.images[0], COCO.images[0]],
        annotations: [],
      }),
      /images\[1\] has the id 1 of another image/,
    ],
    [JSON.stringify([{ image_id: 1, score: 0.5 }]), /a list of detections/],
    ['{"shapes": []}', /neither a list of GeoJSON features nor COCO/],
  ];
  for (const [text, why] of faults) await assertRefused(text, why);
});

/** ASAP's XML of annotations. */
function asap(...annotations: string[]): string {
  return [
    '<?xml version="1.0"?>',
    "<ASAP_Annotations>",
    "<Annotations>",
    ...annotations,
    "</Annotations>",
    '<AnnotationGroups><Group Name="Tumor" PartOfGroup="None"/></AnnotationGroups>',
    "</ASAP_Annotations>",
  ].join("\n");
}

function drawn(type: string, corners: number[][], group = "Tumor"): string {
  const coordinates = corners.map(([x, y], i) =>
    `<Coordinate Order="${i}" X="${x}" Y="${y}" />`
  );
  return `<Annotation Name="Annotation 0" Type="${type}" PartOfGroup="${group}" Color="#F4FA58"><Coordinates>${
    coordinates.join("")
  }</Coordinates></Annotation>`;
}

Deno.test("ASAP's XML: polygons, splines, rectangles, dots and point sets", async () => {
  const triangle = [[0, 0], [8, 0], [8, 6]];
  const objects = await objectsIn(asap(
    drawn("Polygon", triangle),
    drawn("Spline", triangle, "None"),
    drawn("Rectangle", [...triangle, [0, 6]]),
    drawn("Dot", [[3.5, 4]]),
    drawn("PointSet", [[1, 2], [3, 4]], "a &amp; b"),
    drawn("Measurement", [[0, 0], [1, 1]]),
  ));
  assert.deepEqual(
    objects.map((
      { type, x, y, width, height, polygons },
    ) => [type, x, y, width, height, polygons?.[0]?.[0]?.length]),
    [
      ["Tumor", 0, 0, 8, 6, 4],
      [undefined, 0, 0, 8, 6, 4],
      ["Tumor", 0, 0, 8, 6, 5],
      ["Tumor", 3.5, 4, 0, 0, undefined],
      ["a & b", 1, 2, 0, 0, undefined],
      ["a & b", 3, 4, 0, 0, undefined],
    ],
  );
});

Deno.test("corners of ASAP are joined in their order", async () => {
  const text = asap(
    '<Annotation Name="n" Type="Polygon" PartOfGroup="None"><Coordinates>' +
      '<Coordinate Order="2" X="8" Y="6"/><Coordinate Order="0" X="0" Y="0"/>' +
      '<Coordinate Order="1" X="8" Y="0"/></Coordinates></Annotation>',
  );
  const [object] = await objectsIn(text);
  assert.deepEqual(
    object!.polygons![0]![0]!.map(({ x, y }) => `${x},${y}`).join(" "),
    "0,0 8,0 8,6 0,0",
  );
});

Deno.test("a fault of ASAP's XML is told with its line", async () => {
  const faults: [string, RegExp][] = [
    [
      asap(drawn("Polygon", [[0, 0], [1, 1]])),
      /objects:4: the annotation "Annotation 0" has 2 corners: draw it with 3 or more/,
    ],
    [
      asap(drawn("Dot", [[NaN, 0]])),
      /:4: X of .* is "NaN": write a number of px/,
    ],
    [asap(drawn("Dot", [[1, Infinity]])), /:4: Y of .* is "Infinity"/],
    [
      asap('<Annotation Type="Dot"><Coordinate X="1,5" Y="2"/></Annotation>'),
      /is "1,5"/,
    ],
    [
      asap('<Annotation Type="Dot"><Coordinate X="1"/></Annotation>'),
      /Y of the annotation is ""/,
    ],
    [asap(drawn("Cloud", [[0, 0]])), /has the type "Cloud": it must be Dot, /],
    [asap("<Annotation>"), /:4: the annotation has the type "": it must be/],
    [
      "<ASAP_Annotations>\n<Annotations>",
      /:2: it is no well-formed XML: unclosed tag: \w+; save it again/,
    ],
    [
      "<Annotations><Annotation/></Annotations>",
      /:1: its root is <Annotations>, not <ASAP_Annotations>/,
    ],
    [asap("<a>".repeat(100)), /nest too deep/],
    [
      '<!DOCTYPE a [<!ENTITY b "c">]><ASAP_Annotations>&b;</ASAP_Annotations>',
      /:1: it is no well-formed XML: an entity that is not XML's own; save/,
    ],
  ];
  for (const [text, why] of faults) await assertRefused(text, why);
});

Deno.test("tables are told by their header, other files refused", async () => {
  assert.deepEqual(await objectsIn("x,y,type\n1.5,2,cell\n"), [
    { x: 1.5, y: 2, width: 0, height: 0, type: "cell" },
  ]);
  const many = await read("image,x,y\na.png,1,2\nb.png,3,4\na.png,5,6\n");
  assert.ok("images" in many);
  assert.deepEqual(many.images.map(({ objects }) => objects.length), [2, 1]);
  await assertRefused(new Uint8Array([0xff, 0xfe, 0x7b, 0]), /not UTF-8/);
  await assertRefused(
    new Uint8Array([0x7b, 0xff]),
    /not UTF-8; save it as UTF-8/,
  );
  await assertRefused("x,y\n1,abc\n", /:2: y is "abc": write a number of px/);
  await assert.rejects(
    readAnnotations("/nowhere/a.json"),
    /there is no such file/,
  );
});

Deno.test("a file beyond the bound is not read", async () => {
  await withFolder(async (folder) => {
    for (const [mark, size] of [["{", 2 ** 27], ["<", 2 ** 25]] as const) {
      const path = join(folder, "huge");
      await Deno.writeTextFile(path, mark);
      await Deno.truncate(path, size + 1);
      await assert.rejects(
        readAnnotations(path),
        new RegExp(`has ${size + 1} bytes, at most ${size} are read`),
      );
    }
  });
});
