// The gradient of the largest of each window of 2x2 pixels: dy at the first one
// (by row, then column) that is the largest, 0 elsewhere and in an odd last row
// or column, which belongs to no window. `Element` is one channel or four. One
// invocation, one element of a window, whole or cut off at the edge.

struct Params {
  height: u32, // of x, px
  width: u32,
  out_height: u32,
  out_width: u32,
  elements: u32, // of a pixel
  rows: u32,     // of windows, whole or cut off
  columns: u32,
  count: u32,    // of elements of windows
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;        // [N, H, W, C]
@group(0) @binding(2) var<storage, read> dy: array<Element>;       // [N, H/2, W/2, C]
@group(0) @binding(3) var<storage, read_write> dx: array<Element>; // [N, H, W, C]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.x + group.y * groups.x) * 64u + lane;
  if (index >= params.count) { return; }
  let element = index % params.elements;
  let window = index / params.elements;
  let line = window / params.columns; // of all rows of windows
  let n = line / params.rows;
  let row = line - n * params.rows;
  let column = window - line * params.columns;
  let at = ((n * params.height + 2u * row) * params.width + 2u * column) *
    params.elements + element;
  let right = at + params.elements;
  let below = at + params.width * params.elements;
  let across = below + params.elements;

  if (row < params.out_height && column < params.out_width) {
    let a = x[at];
    let b = x[right];
    let c = x[below];
    let d = x[across];
    let largest = max(max(a, b), max(c, d));
    let given = dy[
      ((n * params.out_height + row) * params.out_width + column) *
        params.elements + element
    ];
    // What of it is left to the pixels that follow.
    let to_a = select(Element(0), given, a == largest);
    let after_a = select(given, Element(0), a == largest);
    let to_b = select(Element(0), after_a, b == largest);
    let after_b = select(after_a, Element(0), b == largest);
    let to_c = select(Element(0), after_b, c == largest);
    dx[at] = to_a;
    dx[right] = to_b;
    dx[below] = to_c;
    dx[across] = select(after_b, Element(0), c == largest);
  } else { // beyond the last window: one pixel, or two beside each other
    dx[at] = Element(0);
    if (2u * column + 1u < params.width) { dx[right] = Element(0); }
    if (2u * row + 1u < params.height) { dx[below] = Element(0); }
  }
}
