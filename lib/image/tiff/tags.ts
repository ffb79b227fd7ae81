/**
 * Tags of TIFF directories: their numbers and names.
 *
 * @module
 */

/** Tags that are read, by the names of the specifications. */
export const TAG = {
  newSubfileType: 254,
  oldSubfileType: 255,
  width: 256,
  height: 257,
  bitsPerSample: 258,
  compression: 259,
  photometric: 262,
  fillOrder: 266,
  description: 270,
  stripOffsets: 273,
  orientation: 274,
  samplesPerPixel: 277,
  rowsPerStrip: 278,
  stripBytes: 279,
  xResolution: 282,
  yResolution: 283,
  planarConfiguration: 284,
  resolutionUnit: 296,
  software: 305,
  predictor: 317,
  colorMap: 320,
  tileWidth: 322,
  tileHeight: 323,
  tileOffsets: 324,
  tileBytes: 325,
  subDirectories: 330,
  inkSet: 332,
  extraSamples: 338,
  sampleFormat: 339,
  sMinSampleValue: 340,
  sMaxSampleValue: 341,
  jpegTables: 347,
  xmp: 700,
  modelPixelScale: 33550,
  modelTiepoint: 33922,
  modelTransformation: 34264,
  geoKeys: 34735,
  geoDoubles: 34736,
  geoTexts: 34737,
  noData: 42113,
  rationalPolynomials: 50844,
  iccProfile: 34675,
  ycbcrCoefficients: 529,
  subsampling: 530,
  referenceBlackWhite: 532,
  hamamatsu: 65420,
} as const;

/** Tags without which the pixels cannot be read, or would be read wrongly. */
export const ESSENTIAL_TAGS: ReadonlySet<number> = new Set([
  TAG.width,
  TAG.height,
  TAG.bitsPerSample,
  TAG.compression,
  TAG.photometric,
  TAG.fillOrder,
  TAG.stripOffsets,
  TAG.samplesPerPixel,
  TAG.rowsPerStrip,
  TAG.stripBytes,
  TAG.planarConfiguration,
  TAG.predictor,
  TAG.colorMap,
  TAG.tileWidth,
  TAG.tileHeight,
  TAG.tileOffsets,
  TAG.tileBytes,
  TAG.extraSamples,
  TAG.sampleFormat,
  TAG.jpegTables,
  TAG.subsampling,
]);

/** Names of the other tags, for warnings. */
export const TAG_NAMES = new Map<number, string>(
  Object.entries(TAG).map(([name, tag]) => [tag, name]),
);
