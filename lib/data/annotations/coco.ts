/**
 * Annotated objects in COCO's JSON: one file for many images. An object is its
 * polygons, or, if it has none or a mask of run lengths, its box.
 *
 * Format: https://cocodataset.org/#format-data
 *
 * @module
 */
import { z } from "zod";
import type { Polygon } from "../../image/foreground/polygons.ts";
import {
  type AnnotatedImage,
  type AnnotatedObject,
  boxObject,
  polygonObject,
} from "./object.ts";

const idSchema = z.union([z.number(), z.string()]);

const imageSchema = z.object({ id: idSchema, file_name: z.string().min(1) });

const categorySchema = z.object({ id: idSchema, name: z.string() });

const boxSchema = z.tuple([
  z.number(),
  z.number(),
  z.number().min(0),
  z.number().min(0),
]);

const annotationSchema = z.object({
  image_id: idSchema,
  category_id: idSchema.nullish(),
  bbox: boxSchema.nullish(),
  segmentation: z.union([
    z.array(z.array(z.number())),
    z.object({ counts: z.unknown() }), // run lengths
  ]).nullish(),
});

type Annotation = z.infer<typeof annotationSchema>;

/** True if a JSON value looks like COCO's. */
export function isCoco(value: unknown): boolean {
  return typeof value === "object" && value !== null && "images" in value &&
    "annotations" in value;
}

/** True if a JSON value is a list of detections, which names no images. */
export function isCocoResults(value: unknown): boolean {
  const first: unknown = Array.isArray(value) ? value[0] : undefined;
  return typeof first === "object" && first !== null && "image_id" in first;
}

/**
 * The images of a COCO file and their objects.
 *
 * @throws {Error} Naming the first fault by its place in the file.
 */
export function cocoImages(value: unknown): AnnotatedImage[] {
  const { images, annotations, categories } = value as Record<string, unknown>;
  const byId = new Map<string, AnnotatedImage>();
  for (const [i, image] of listOf(images, "images").entries()) {
    const { id, file_name } = parsed(imageSchema, image, `images[${i}]`);
    if (byId.has(`${id}`)) {
      throw new Error(
        `images[${i}] has the id ${id} of another image: give each its own`,
      );
    }
    byId.set(`${id}`, { image: file_name, objects: [] });
  }
  const typeOf = typesOf(categories);
  for (const [i, item] of listOf(annotations, "annotations").entries()) {
    const place = `annotations[${i}]`;
    const annotation = parsed(annotationSchema, item, place);
    const image = byId.get(`${annotation.image_id}`);
    if (image === undefined) {
      throw new Error(
        `${place} has the image_id ${
          worded(annotation.image_id)
        }, which no image has: add the image, or remove the annotation`,
      );
    }
    const type = typeOf(annotation.category_id, place);
    image.objects.push(objectOf(annotation, type, place));
  }
  return [...byId.values()];
}

/** Finds the name of a category; without a list of them, its id. */
function typesOf(categories: unknown) {
  const names = categories === undefined || categories === null
    ? undefined
    : new Map(
      listOf(categories, "categories").map((category, i) => {
        const place = `categories[${i}]`;
        const { id, name } = parsed(categorySchema, category, place);
        return [`${id}`, name];
      }),
    );
  return (id: number | string | null | undefined, place: string) => {
    if (id === undefined || id === null) return undefined;
    const name = names ? names.get(`${id}`) : `${id}`;
    if (name !== undefined) return name;
    throw new Error(
      `${place} has the category_id ${
        worded(id)
      }, which no category has: add the category, or remove the annotation`,
    );
  };
}

function objectOf(
  { bbox, segmentation }: Annotation,
  type: string | undefined,
  place: string,
): AnnotatedObject {
  const polygons = Array.isArray(segmentation)
    ? segmentation.map((corners, i) =>
      outlineOf(corners, `${place}.segmentation[${i}]`)
    )
    : [];
  if (polygons.length > 0) return polygonObject(polygons, type);
  if (bbox) {
    const [x, y, width, height] = bbox;
    return boxObject({ x, y, width, height }, type);
  }
  throw new Error(
    segmentation
      ? `${place} has no polygon and no bbox: write its bbox as [x, y, width, height]`
      : `${place} has neither bbox nor segmentation: write its bbox as [x, y, width, height]`,
  );
}

/** A polygon of [x, y, x, y, ...], closed; COCO's have no holes. */
function outlineOf(corners: readonly number[], place: string): Polygon {
  if (corners.length < 6 || corners.length % 2 !== 0) {
    throw new Error(
      `${place} has ${corners.length} numbers: write x and y of three corners or more`,
    );
  }
  const ring = Array.from({ length: corners.length / 2 }, (_, i) => ({
    x: corners[2 * i]!,
    y: corners[2 * i + 1]!,
  }));
  return [[...ring, ring[0]!]];
}

function listOf(value: unknown, place: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw new Error(`its ${place} are no list: export the annotations again`);
}

// What a field must be.
const EXPECTED: Record<string, string> = {
  id: "a number or a text",
  image_id: "the id of an image",
  category_id: "the id of a category",
  file_name: "the path of an image",
  name: "a text",
  bbox: "[x, y, width, height] in px, neither size below 0",
  segmentation: "a list of polygons [x, y, x, y, ...], or run lengths",
};

/** `value` as `schema` describes it, or its first fault. */
function parsed<T>(schema: z.ZodType<T>, value: unknown, place: string): T {
  const { data, error } = schema.safeParse(value);
  if (error === undefined) return data;
  const { path } = error.issues[0]!;
  const [field] = path;
  if (field === undefined) throw new Error(`${place} is no object: remove it`);
  const steps = path.map((step) =>
    typeof step === "number" ? `[${step}]` : `.${String(step)}`
  );
  throw new Error(
    `${place}${steps.join("")} is missing or wrong: ${String(field)} must be ${
      EXPECTED[String(field)]
    }`,
  );
}

/** An id for a message. */
function worded(id: number | string): string {
  return JSON.stringify(id).slice(0, 40);
}
