/**
 * From level-0 px to the px of an encoder's input and the cells of its maps,
 * axis by axis.
 *
 * @module
 */

/** Neighbours on an axis that make one value, and their weights; they add to 1. */
export interface Taps {
  first: number;
  weights: Float32Array;
}

/** Cells `[from, to)` of a map's axis, and their share in a value. */
export interface Span {
  from: number;
  to: number;
  share: number;
}

/**
 * What each of `count` px of a resized axis of `extent` px is made of: bilinear
 * between the middles of px (torch's `align_corners=False`) where `scale` is at
 * least 1, else the mean of the area that it covers. Px beyond the end repeat
 * the last.
 *
 * @param scale resized px for each px.
 */
export function resizedAxis(
  extent: number,
  count: number,
  scale: number,
): Taps[] {
  const taps = scale >= 1 ? bilinearTaps : areaTaps;
  return Array.from({ length: count }, (_, i) => taps(i, extent, scale));
}

function bilinearTaps(index: number, extent: number, scale: number): Taps {
  const middle = (index + 0.5) / scale - 0.5;
  const at = Math.min(Math.max(middle, 0), extent - 1);
  const first = Math.min(Math.floor(at), Math.max(0, extent - 2));
  const share = at - first;
  return {
    first,
    weights: share === 0
      ? Float32Array.of(1)
      : Float32Array.of(1 - share, share),
  };
}

// (i + 1) / scale may miss the edge of a px by rounding.
const ROUNDING = 1e-9;

function areaTaps(index: number, extent: number, scale: number): Taps {
  const from = index / scale, to = Math.min((index + 1) / scale, extent);
  if (to - from < ROUNDING) {
    return { first: extent - 1, weights: Float32Array.of(1) };
  }
  const first = Math.floor(from + ROUNDING);
  const end = Math.max(first + 1, Math.ceil(to - ROUNDING));
  const weights = new Float32Array(end - first);
  for (let px = first; px < end; px++) {
    const overlap = Math.min(px + 1, to) - Math.max(px, from);
    weights[px - first] = overlap / (to - from);
  }
  return { first, weights };
}

/**
 * The windows of cells about `place` whose values make the one there: a window
 * about each of the two nearest cells, or corners of cells if its side is an
 * even number of them. A window ends with the map; a place beyond the middle of
 * the last cell is taken to be there.
 *
 * @param place on the axis, in the unit of `cell`.
 * @param cell extent of a cell.
 * @param cells cells of the axis.
 * @param window side of the window, in the unit of `cell`; 0: one cell.
 */
export function spansAbout(
  place: number,
  { cell, cells, window }: { cell: number; cells: number; window: number },
): Span[] {
  const count = Math.max(1, Math.round(window / cell));
  const inside = (count - 1) / 2;
  const at = Math.min(
    Math.max(place / cell - count / 2, -inside),
    cells - 1 - inside,
  );
  const first = Math.floor(at), share = at - first;
  const span = (from: number, share: number): Span => ({
    from: Math.max(0, from),
    to: Math.min(cells, from + count),
    share,
  });
  return share === 0
    ? [span(first, 1)]
    : [span(first, 1 - share), span(first + 1, share)];
}

/** The mean over each span, added by their shares, as weights of cells. */
export function meanTaps(spans: readonly Span[]): Taps {
  const first = spans[0]!.from;
  const weights = new Float32Array(spans.at(-1)!.to - first);
  for (const { from, to, share } of spans) {
    for (let i = from; i < to; i++) weights[i - first]! += share / (to - from);
  }
  return { first, weights };
}
