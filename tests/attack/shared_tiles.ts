/**
 * Images of few bytes and many blocks: TIFFs whose tiles all lie in one place,
 * or are left out.
 *
 * @module
 */

const SHORT = 3, LONG = 4;

/** A grey TIFF of `side` px in tiles of 16 px. */
export function tiffOfTiles(
  side: number,
  { sparse = false } = {},
): Uint8Array<ArrayBuffer> {
  const tile = 16, tileBytes = tile * tile;
  const count = Math.ceil(side / tile) ** 2;
  const pixelsAt = 8, offsetsAt = pixelsAt + tileBytes;
  const countsAt = offsetsAt + 4 * count, tableAt = countsAt + 4 * count;
  const entries: [tag: number, type: number, count: number, value: number][] = [
    [256, LONG, 1, side],
    [257, LONG, 1, side],
    [258, SHORT, 1, 8],
    [259, SHORT, 1, 1],
    [262, SHORT, 1, 1],
    [277, SHORT, 1, 1],
    [322, LONG, 1, tile],
    [323, LONG, 1, tile],
    [324, LONG, count, offsetsAt],
    [325, LONG, count, countsAt],
  ];
  const bytes = new Uint8Array(tableAt + 2 + 12 * entries.length + 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x002a4949, true);
  view.setUint32(4, tableAt, true);
  for (let i = 0; i < tileBytes; i++) bytes[pixelsAt + i] = 31 * i;
  for (let i = 0; i < count && !sparse; i++) {
    view.setUint32(offsetsAt + 4 * i, pixelsAt, true);
    view.setUint32(countsAt + 4 * i, tileBytes, true);
  }
  view.setUint16(tableAt, entries.length, true);
  for (const [i, [tag, type, count, value]] of entries.entries()) {
    const at = tableAt + 2 + 12 * i;
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, type, true);
    view.setUint32(at + 4, count, true);
    if (type === SHORT) view.setUint16(at + 8, value, true);
    else view.setUint32(at + 8, value, true);
  }
  return bytes;
}
