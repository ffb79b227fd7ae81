/**
 * Micrometres per px: which are a microscope's, and the units that files say
 * them in.
 *
 * @module
 */

/**
 * The micrometres per px that are followed. What lies beyond is a mistake of a
 * unit, and would be enlarged or shrunk without bound.
 */
export const MPP_RANGE = { least: 0.01, most: 100 } as const;

export function isPlausibleMpp(mpp: number): boolean {
  return mpp >= MPP_RANGE.least && mpp <= MPP_RANGE.most;
}

/** The range in words, for messages. */
export const MPP_WORDS =
  `from ${MPP_RANGE.least} to ${MPP_RANGE.most} um per px`;

/** Micrometres per px along both axes, as a file says them. */
export interface PixelSize {
  x?: number | undefined;
  y?: number | undefined;
}

const METRES: Record<string, number> = {
  Y: 1e24,
  Z: 1e21,
  E: 1e18,
  P: 1e15,
  T: 1e12,
  G: 1e9,
  M: 1e6,
  k: 1e3,
  h: 1e2,
  da: 1e1,
  "": 1,
  d: 1e-1,
  c: 1e-2,
  m: 1e-3,
  µ: 1e-6,
  u: 1e-6,
  n: 1e-9,
  p: 1e-12,
  f: 1e-15,
  a: 1e-18,
  z: 1e-21,
  y: 1e-24,
};

const INCH = 25_400;

const MICROMETRES: Record<string, number> = {
  å: 1e-4,
  angstrom: 1e-4,
  ångström: 1e-4,
  nanometer: 1e-3,
  micron: 1,
  micrometer: 1,
  millimeter: 1e3,
  centimeter: 1e4,
  meter: 1e6,
  thou: INCH / 1000,
  mil: INCH / 1000,
  li: INCH / 12,
  pt: INCH / 72,
  in: INCH,
  inch: INCH,
  inche: INCH, // a plural without its s
  ft: 12 * INCH,
  yd: 36 * INCH,
  mi: 63_360 * INCH,
};

/**
 * Micrometres of a unit of length, by its symbol in the OME schema or its
 * English name; undefined of what is none, such as "pixel".
 */
export function micrometres(unit: string): number | undefined {
  const name = unit.trim()
    .replace(/^Â(?=µ)/, "") // UTF-8 that was taken for Latin
    .replace("μ", "µ") // the Greek letter, for the sign
    .normalize("NFC");
  const prefix = /^(.{0,2})m$/u.exec(name)?.[1];
  const metres = prefix === undefined ? undefined : METRES[prefix];
  if (metres !== undefined) return metres * 1e6;
  const word = name.toLowerCase().replace(/metre/, "meter");
  return MICROMETRES[word] ?? MICROMETRES[word.replace(/s$/, "")];
}
