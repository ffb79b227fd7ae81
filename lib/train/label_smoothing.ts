/**
 * The labels that the evidence head learns from, however it is trained.
 *
 * @module
 */

/**
 * Share of a label that the other classes have: labels of .95 and .05. With 0 and
 * 1 logits grow without bound on the few images that training has.
 */
export const SMOOTHING = 0.05;
