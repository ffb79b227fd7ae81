/**
 * What a network can learn to say of an image, by name. lib/data/goals.ts reads the
 * labels of each target, lib/model/targets has its outputs and its loss, and
 * lib/eval/targets its metrics.
 *
 * @module
 */

/** The targets, by the name that a configuration has for them. */
export const TARGETS = [
  "classes",
  "labels",
  "value",
  "ordinal",
  "survival",
] as const;

/**
 * `classes`: one class of several; `labels`: any of several, or none; `value`: a
 * number; `ordinal`: one grade of several in order; `survival`: a risk, learned from
 * times to an event of which some are censored.
 */
export type TargetName = (typeof TARGETS)[number];

/**
 * The label of an image as numbers, by its target:
 *
 *     classes, ordinal  [index of the class]
 *     labels            [1 or 0 of each label]
 *     value             [value]
 *     survival          [time, 1 if the event was seen and 0 if not]
 */
export type Goal = readonly number[];

/** Stands between the labels of one image. */
export const LABEL_SEPARATOR = ";";
