/**
 * What an image is said to be, with names in the place of numbers: what the command
 * line prints of it, the server answers and a program gets.
 *
 * @module
 */
import type { Decision } from "../model/targets/target.ts";

/** The answer for an image. */
export interface Answer {
  /**
   * The most probable class; of several labels, all that the image has, as `a;b`; of
   * a number, its digits.
   */
  label: string;
  /**
   * By class, adding to 1, or by label, each of its own; empty if the target is a
   * number.
   */
  probabilities: Record<string, number>;
  /** Of the target `labels`: those that the image has. */
  labels?: string[];
  /** Of the target `value`: the number, in the unit of the labels. */
  value?: number;
  /** Of the target `survival`: logarithm of the hazard ratio; the higher the sooner. */
  risk?: number;
}

/** A decision with the names of the model. */
export function answerOf(
  { label, probabilities, labels, value, risk }: Decision,
  classes: readonly string[],
): Answer {
  return {
    label,
    probabilities: Object.fromEntries(
      probabilities.map((p, place) => [classes[place]!, p]),
    ),
    ...(labels && { labels }),
    ...(value !== undefined && { value }),
    ...(risk !== undefined && { risk }),
  };
}

/** The answer within something that has more. */
export function answerIn(
  { label, probabilities, labels, value, risk }: Answer,
): Answer {
  return {
    label,
    probabilities,
    ...(labels && { labels }),
    ...(value !== undefined && { value }),
    ...(risk !== undefined && { risk }),
  };
}

/** All numbers of a decision. */
export function numbersOf(
  { probabilities, value, risk }: Decision,
): number[] {
  return [...probabilities, value, risk].filter((x) => x !== undefined);
}
