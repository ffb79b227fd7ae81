/**
 * The variants of a study on frozen features, which all studies have: training on
 * all locations, its teacher, and the mean feature under a logistic regression;
 * where objects are annotated, also training on those of a few images.
 *
 * @module
 */
import {
  type Config,
  type FrozenFeatures,
  withSettings,
} from "../model/config.ts";
import { withFrozenFeatures } from "../model/frozen_settings.ts";
import type { FrozenChoice, Trend, Variant } from "./study.ts";

/** The rest of the variants. */
interface Frame extends Pick<Variant, "data" | "seeds" | "against"> {
  /** Views and everything that features do not change. */
  config: Config;
  /** Training images of a fold whose objects a variant learns from; none: no such. */
  boxes?: number;
  /** Added to names. */
  suffix?: string;
  /** Added to descriptions. */
  about?: string;
  /** Changed last. */
  settings: readonly string[];
  trend?: Omit<Trend, "series">;
}

const ABOUTS: Record<FrozenFeatures, string> = {
  encoder: "a pretrained network",
  scattering: "fixed filters",
  dictionary: "patches of the training images",
};

/** The variants of the chosen features; none if there is no choice. */
export function frozenVariants(
  choice: FrozenChoice | undefined,
  { config, boxes, suffix = "", about = "", settings, trend, against, ...rest }:
    Frame,
): Variant[] {
  if (!choice) return [];
  const { features, encoder, overview } = choice;
  const method = (
    name: string,
    description: string,
    { closeUp = null, ...more }:
      & Partial<Variant>
      & Partial<Pick<FrozenChoice, "closeUp">>,
  ): Variant => ({
    ...rest,
    name: `${name}${suffix}`,
    about: `${description}${about}`,
    config: withSettings(
      withFrozenFeatures(config, features, encoder, { overview, closeUp }),
      settings,
    ),
    protocols: ["held-out"],
    ...(trend && { trend: { ...trend, series: name } }),
    ...more,
  });
  const student = `${features}${suffix}`;
  const baseline = { against: student, baseline: true };
  const pooled = features === "encoder" ? "pretrained" : features;
  return [
    method(
      features,
      `frozen features (${
        ABOUTS[features]
      }), trained on all locations, classified by draws`,
      against === undefined ? {} : { against },
    ),
    ...boxes === undefined ? [] : [
      method(
        `${features}-boxes`,
        `the same, trained on the annotated objects of ${boxes} training images, too`,
        { boxes, closeUp: choice.closeUp, against: student },
      ),
    ],
    method(
      `${features}-teacher`,
      `the teacher of ${student}, which sees all locations`,
      { ...baseline, teacherOf: student },
    ),
    method(
      `${pooled}-mean`,
      "the mean of the same features over all locations, logistic regression",
      { ...baseline, pooled: true },
    ),
  ];
}
