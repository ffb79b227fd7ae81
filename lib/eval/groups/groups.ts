/**
 * Groups of images, such as those of a patient, and their predictions.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs-core";
import type { TableImage } from "../../data/manifest.ts";
import { count, formatTable } from "../../data/table.ts";
import { DataError, shortened, UsageError } from "../../errors.ts";
import {
  calibratedSoftmax,
  type Calibration,
} from "../../model/calibration.ts";
import type { Config } from "../../model/config.ts";
import type { Classification } from "../classification.ts";
import { argmax } from "../metrics.ts";
import {
  type GroupPart,
  type GroupPooling,
  meanOf,
  pooledLogits,
  surestProbabilities,
} from "./pooling.ts";

/** Images that are predicted together. */
export interface ImageGroup {
  /** Name of the group; that of the image if it has none. */
  name: string;
  /** The label of its images, if they have one. */
  label?: string;
  /** Places of its images in the table. */
  members: number[];
}

/** What a model says of an image. */
export interface GroupMember {
  /** `[classes]`. */
  probabilities: number[];
  /** For the evidence of its group. */
  part?: GroupPart | undefined;
}

/** A group and the class it was given. */
export interface PredictedGroup {
  /** Its name. */
  group: string;
  /** Its label, if it has one. */
  label?: string;
  /** Number of images that it rests on. */
  images: number;
  /** Its result. */
  classification: Pick<Classification, "label" | "probabilities">;
}

/** What groups are predicted by. */
export interface GroupModel {
  by: GroupPooling;
  classes: readonly string[];
  config: Pick<Config, "referenceClass" | "network">;
  calibration: Calibration | null;
}

/**
 * The groups of images, in the order in which they first appear.
 *
 * @param data the table, for messages.
 * @throws {DataError} If there are no groups, or one has images of two labels.
 */
export function imageGroups(
  entries: readonly TableImage[],
  data: string,
): ImageGroup[] {
  if (entries.every(({ group }) => group === undefined)) {
    throw new DataError(
      `Cannot predict by group: the images of ${data} have no groups; name their column with --group-column`,
    );
  }
  const byName = Map.groupBy(
    entries.map((entry, place) => ({ entry, place })),
    ({ entry: { group, image } }) =>
      group === undefined ? `image ${image}` : `group ${group}`,
  );
  const groups = [...byName.values()].map((members) => ({
    members,
    labelled: members.map(({ entry }) => entry)
      .filter(({ label }) => label !== undefined),
  }));
  const torn = groups.map(({ labelled }) => labelled)
    .filter(([first, ...others]) =>
      others.some(({ label }) => label !== first!.label)
    );
  if (torn.length > 0) throw tornGroup(torn);
  return groups.map(({ members, labelled: [known] }) => {
    const { group, image } = members[0]!.entry;
    return {
      name: group ?? image,
      ...(known && { label: known.label! }),
      members: members.map(({ place }) => place),
    };
  });
}

/** Images of one group differ in their labels. */
function tornGroup(torn: readonly (readonly TableImage[])[]): DataError {
  const [first, ...others] = torn[0]!;
  const other = others.find(({ label }) => label !== first!.label)!;
  const labelled = ({ label, line }: TableImage) =>
    `"${shortened(label!)}" (line ${line})`;
  const more = torn.length - 1;
  return new DataError(
    `Cannot predict by group: images of the group "${
      shortened(first!.group!)
    }" have different labels, ${labelled(first!)} and ${labelled(other)}${
      more > 0 ? `, and so have those of ${count(more, "other group")}` : ""
    }; correct them, or name another column with --group-column`,
  );
}

/**
 * A model as groups are predicted by it.
 *
 * @throws {UsageError} If it decides by more than its sub-tiles.
 */
export function checkedGroupModel(
  by: GroupPooling,
  { classes, config, calibration }: Omit<GroupModel, "by">,
): GroupModel {
  if (by === "evidence" && config.network.closeUp !== null) {
    throw new UsageError(
      "Cannot pool the evidence of a group: the model decides by a close-up of one object; give --by-group max",
    );
  }
  return { by, classes, config, calibration };
}

/**
 * The predictions of groups; those of which no image could be read are left out.
 *
 * @param members by place of the image; undefined if it could not be read.
 */
export async function predictGroups(
  groups: readonly ImageGroup[],
  members: readonly (GroupMember | undefined)[],
  model: GroupModel,
): Promise<PredictedGroup[]> {
  const read = groups.map((group) => ({
    group,
    images: group.members.map((place) => members[place])
      .filter((member) => member !== undefined),
  })).filter(({ images }) => images.length > 0);
  const probabilities = await groupProbabilities(
    read.map(({ images }) => images),
    model,
  );
  return read.map(({ group: { name, label }, images }, i) => ({
    group: name,
    ...(label !== undefined && { label }),
    images: images.length,
    classification: {
      label: model.classes[argmax(probabilities[i]!)]!,
      probabilities: Object.fromEntries(
        model.classes.map((name, c) => [name, probabilities[i]![c]!]),
      ),
    },
  }));
}

/** `[groups, classes]`; a group of one image is that image. */
async function groupProbabilities(
  groups: readonly (readonly GroupMember[])[],
  { by, classes, config, calibration }: GroupModel,
): Promise<(readonly number[])[]> {
  const reference = classes.indexOf(config.referenceClass ?? "");
  const own = groups.map((images) =>
    images.map(({ probabilities }) => probabilities)
  );
  switch (by) {
    case "mean":
      return own.map(meanOf);
    case "max":
      // Of two classes the second is the positive one, as in the metrics.
      return own.map((images) =>
        surestProbabilities(
          images,
          reference < 0 && classes.length === 2 ? 0 : reference,
        )
      );
    case "evidence": {
      const several = groups.filter((images) => images.length > 1);
      const pooled = await calibrated(
        several.map((images) =>
          pooledLogits(images.map(({ part }) => part!), reference)
        ),
        calibration,
      );
      let next = 0;
      return own.map((images) =>
        images.length > 1 ? pooled[next++]! : images[0]!
      );
    }
    default:
      throw new TypeError(`Unknown pooling ${by satisfies never}`);
  }
}

/** The probabilities of logits, `[groups, classes]`. */
async function calibrated(
  logits: number[][],
  calibration: Calibration | null,
): Promise<number[][]> {
  if (logits.length === 0) return [];
  const all = tf.tensor2d(logits);
  const shares = calibratedSoftmax(all, calibration);
  return await shares.array().finally(() => tf.dispose([all, shares]));
}

/** A CSV table with one group a line; labels if there are any. */
export function groupTable(
  groups: readonly PredictedGroup[],
  classes: readonly string[],
): string {
  const isLabelled = groups.some(({ label }) => label !== undefined);
  return formatTable(
    [
      ...["group", "images"],
      ...isLabelled ? ["label"] : [],
      "predicted",
      ...classes.map((name) => `p(${name})`),
    ],
    groups.map(({ group, images, label, classification }) => [
      ...[group, images],
      ...isLabelled ? [label] : [],
      classification.label,
      ...classes.map((name) => classification.probabilities[name]!.toFixed(6)),
    ]),
  );
}
