/**
 * Source pixels that the pixels of a view cover, along one axis.
 *
 * @module
 */

/**
 * Coverage of one axis by the output pixels: whole source pixels [first, last),
 * and a part of the pixel before and after them.
 */
export interface Cover {
  first: Int32Array;
  last: Int32Array;
  before: Float64Array; // covered part of pixel first - 1
  after: Float64Array; // covered part of pixel last
}

/**
 * The cover of `pixels` output pixels, of which `output` make up `source` px:
 * from `phase` on and not beyond `limit`, both in 1/output px.
 */
export function coverAxis(
  { source, output, phase, limit, pixels }: Record<
    "source" | "output" | "phase" | "limit" | "pixels",
    number
  >,
): Cover {
  const cover: Cover = {
    first: new Int32Array(pixels),
    last: new Int32Array(pixels),
    before: new Float64Array(pixels),
    after: new Float64Array(pixels),
  };
  for (let i = 0; i < pixels; i++) {
    // source >= output: the interval is a pixel or longer, so first <= last.
    const start = phase + i * source, end = start + source; // in 1/output px
    const first = Math.ceil(start / output);
    const last = Math.floor(Math.min(end, limit) / output);
    cover.first[i] = Math.min(first, last);
    cover.last[i] = last;
    if (last >= first) {
      cover.before[i] = first - start / output;
      cover.after[i] = Math.min(end, limit) / output - last;
    } else { // the source ends within the first pixel, or before it
      cover.after[i] = Math.max(0, limit - start) / output;
    }
  }
  return cover;
}
