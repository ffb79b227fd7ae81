/**
 * Micrometres per px: the plausible range for a microscope, and the units in
 * which files state them.
 *
 * @module
 */

/**
 * Plausible micrometres per px. A value outside is an error of the unit, and
 * would enlarge or shrink an image without bound.
 */
export const MPP_RANGE = { min: 0.01, max: 100 } as const;

export function isPlausibleMpp(mpp: number): boolean {
  return mpp >= MPP_RANGE.min && mpp <= MPP_RANGE.max;
}

/** The range, for messages. */
export const MPP_WORDS = `from ${MPP_RANGE.min} to ${MPP_RANGE.max} um per px`;

/** Micrometres per px along both axes, as stated in a file. */
export interface PixelSize {
  x?: number | undefined;
  y?: number | undefined;
}

const IGNORED = "ignored: ";

/** Warning about um per px of a file that are ignored. */
export function ignoredMpp(mpp: number, source: string, why: string): string {
  return `${IGNORED}${inWords(mpp)} um per px of its ${source}, ${why}`;
}

/** The first such warning, without its prefix. */
export function findIgnoredMpp(
  warnings: readonly string[],
): string | undefined {
  return warnings.find((warning) => warning.startsWith(IGNORED))
    ?.slice(IGNORED.length);
}

// Tolerated ratio of a pixel's sides: scanners of one make differ by as much.
const SQUARE_TOLERANCE = 0.02;

/**
 * The um per px of a file, if plausible for a microscope; otherwise a warning.
 *
 * @param source origin of the value in the file, for the warning.
 */
export function plausibleMpp(
  source: string,
  { x, y }: PixelSize,
  warnings: string[],
): number | undefined {
  const mpp = x ?? y;
  if (mpp === undefined) return undefined;
  if (!isPlausibleMpp(mpp)) {
    warnings.push(ignoredMpp(mpp, source, `which is not ${MPP_WORDS}`));
    return undefined;
  }
  if (y !== undefined && Math.abs(y / mpp - 1) > SQUARE_TOLERANCE) {
    warnings.push(
      `its pixels are ${inWords(mpp)} x ${
        inWords(y)
      } um: taken for squares of ${inWords(mpp)}`,
    );
  }
  return mpp;
}

/** um per px with four digits. */
export function inWords(mpp: number): string {
  return String(Number(mpp.toPrecision(4)));
}

/** Micrometres of SI-prefixed metres. */
const PREFIXES = new Map([
  ["Y", 1e30],
  ["Z", 1e27],
  ["E", 1e24],
  ["P", 1e21],
  ["T", 1e18],
  ["G", 1e15],
  ["M", 1e12],
  ["k", 1e9],
  ["h", 1e8],
  ["da", 1e7],
  ["", 1e6],
  ["d", 1e5],
  ["c", 1e4],
  ["m", 1e3],
  ["µ", 1],
  ["u", 1],
  ["n", 1e-3],
  ["p", 1e-6],
  ["f", 1e-9],
  ["a", 1e-12],
  ["z", 1e-15],
  ["y", 1e-18],
]);

const INCH = 25_400;

/** Micrometres of other units, in lower case. */
const WORDS = new Map([
  ["å", 1e-4],
  ["angstrom", 1e-4],
  ["ångström", 1e-4],
  ["nanometer", 1e-3],
  ["micron", 1],
  ["micrometer", 1],
  ["millimeter", 1e3],
  ["centimeter", 1e4],
  ["meter", 1e6],
  ["thou", INCH / 1000],
  ["mil", INCH / 1000],
  ["li", INCH / 12], // a line
  ["pt", INCH / 72],
  ["in", INCH],
  ["inch", INCH],
  ["inche", INCH], // a plural without its s
  ["ft", 12 * INCH],
  ["yd", 36 * INCH],
  ["mi", 63_360 * INCH],
]);

/**
 * Micrometres of a unit of length, by its symbol in the OME schema or its
 * English name; undefined if it is not a unit of length, such as "pixel".
 */
export function micrometres(unit: string): number | undefined {
  const name = unit.trim()
    .replace(/^Â(?=µ)/, "") // UTF-8 misread as Latin-1
    .replace("μ", "µ") // Greek letter to micro sign
    .normalize("NFC");
  const prefix = name.endsWith("m")
    ? PREFIXES.get(name.slice(0, -1))
    : undefined;
  const word = name.toLowerCase().replace("metre", "meter");
  return prefix ?? WORDS.get(word) ?? WORDS.get(word.replace(/s$/, ""));
}
