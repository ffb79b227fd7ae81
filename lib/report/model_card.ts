/**
 * The model card: what a model is, what it learned from, and what it is not for.
 *
 * Source: Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
 *
 * @module
 */
import { basename } from "node:path";
import { labelReader } from "../data/goals.ts";
import type { ManifestEntry } from "../data/manifest.ts";
import type { TargetName } from "../target.ts";
import { count } from "../data/table.ts";
import type { CheckpointInfo } from "../model/checkpoint.ts";
import { figure } from "../words.ts";
import { type Html, html } from "./html.ts";
import { facts } from "./parts.ts";
import { path } from "./training.ts";

// Fewer images of a class leave an interval of its recall wider than 0.2.
const FEW_IMAGES = 100;

/** What the card needs to know beside the checkpoint. */
export interface CardFacts {
  /** Images that were trained on; none if that is not recorded. */
  trained: readonly ManifestEntry[];
  /** The table that named them. */
  data: string | undefined;
  /** Images that the figures of the report rest on. */
  tested: number;
}

/** The card of a checkpoint. */
export function modelCard(
  checkpoint: CheckpointInfo,
  { trained, data, tested }: CardFacts,
): Html {
  const { config, classes, calibration, annotated } = checkpoint;
  const { encoder, features } = config.network;
  return html`${
    facts([
      [
        "Model",
        "Zoom-In network: attention on a small view, sub-tiles drawn at full resolution",
      ],
      ["Checkpoint", html`${path(checkpoint.path)}, epoch ${checkpoint.epoch}`],
      ["SHA-256", html`<code>${checkpoint.sha256}</code>`],
      ["Weights", checkpoint.parameterCount],
      [
        "Features",
        encoder
          ? html`of a pretrained network that is not trained: ${
            path(basename(encoder.path))
          }, SHA-256 <code>${encoder.sha256}</code>`
          : features,
      ],
      ["Classes", classes.join(", ")],
      [
        "Resolution",
        config.mpp === null
          ? "pixels as they are: images must be of the resolution of the training images"
          : `${config.mpp} micrometres per px; other images are resampled`,
      ],
      [
        "Probabilities",
        calibration
          ? `calibrated on ${calibration.images} validation images at ${calibration.samples} sub-tiles (temperature ${
            figure(calibration.temperature)
          }, bias ${figure(calibration.bias)})`
          : "not calibrated: there were no or too few validation images",
      ],
    ])
  }
<h3>Data and labels</h3>
<p>${dataText(trained, data)} ${
    annotated
      ? `It also learned from ${
        count(annotated.objects, "annotated object")
      } in ${count(annotated.images, "training image")}.`
      : "It learned from one label an image, and from no marks of where objects are."
  } Labels are taken as they are: who gave them, how, and how often two readers agree is not recorded.</p>
<h3>Limits</h3>
<ul>${
    limits(checkpoint, { trained, data, tested }).map((text) =>
      html`<li>${text}</li>`
    )
  }</ul>
<h3>Licence</h3>
<p>The program is under the MIT licence. The licence of the weights is not recorded: it depends on the images${
    encoder ? " and on the pretrained network" : null
  }; settle it before passing them on. This page holds pictures of images and their names: it is as confidential as they are.</p>`;
}

function dataText(
  trained: readonly ManifestEntry[],
  data: string | undefined,
): Html {
  if (trained.length === 0) return html`The training images are not recorded.`;
  const strata = trained.flatMap(({ label, strata = [label] }) => strata);
  const counts = [...Map.groupBy(strata, (name) => name)].map(([name, all]) =>
    `${name || "none"} ${all.length}`
  );
  return html`Trained on ${trained.length} images (${counts.join(", ")})${
    data === undefined ? null : html`
      of ${path(data)}
    `
  }.`;
}

// What an answer says of an image that is unlike all others.
const KNOWS: Record<TargetName, (count: number) => string> = {
  classes: (count) =>
    `It knows ${count} classes and calls every image one of them, also one that shows none.`,
  labels: (count) =>
    `It knows ${count} labels: of an image that shows anything else it tells nothing.`,
  value: () =>
    "It gives every image a value, also one unlike those it learned from.",
  ordinal: (count) =>
    `It knows ${count} grades and gives every image one of them, also one unlike those it learned from.`,
  survival: () =>
    "Its risks compare images of one kind with each other: they are no times, and no probabilities.",
};

function limits(
  { classes, config }: CheckpointInfo,
  { trained, tested }: CardFacts,
): string[] {
  const { namesIn } = labelReader(config.target);
  const used = trained.map(({ label }) => namesIn(label));
  const counts = classes.filter(() => used.some(({ length }) => length > 0))
    .map((name) =>
      [name, used.filter((names) => names.includes(name)).length] as const
    );
  const rare = counts.filter(([, images]) => images < FEW_IMAGES);
  return [
    ...(trained.length > 0 && rare.length > 0
      ? [
        `Few training images: ${
          rare.map(([name, images]) => `${images} of ${name}`).join(", ")
        }.`,
      ]
      : []),
    tested === 0
      ? "Not tested: the figures of training and validation images are optimistic. Score new images with eval."
      : `Tested on ${tested} images of the same source as far as is recorded; on other scanners, stains, seasons or cameras expect less.`,
    KNOWS[config.target](classes.length),
    `It reads ${config.evaluation.samples} sub-tiles an image: an object outside of them is seen only in the small view. Another seed may give another result.`,
    "Where it looked is no proof of what is there. It is no medical device, and no ground for a decision about a person.",
  ];
}
