// The largest of each window of 2x2 pixels, and its gradient. `Element` is one
// channel or four; one invocation, one element of a window. See max_pool.ts.

struct Params {
  height: u32, // of x, px
  width: u32,
  rows: u32,   // of windows; of the gradient, those cut off at the edge too
  columns: u32,
  elements: u32, // of a pixel
  count: u32,    // of elements of windows
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>; // [N, H, W, C]

// Forward: the largest out.
@group(0) @binding(2) var<storage, read_write> y: array<Element>; // [N, H/2, W/2, C]

// Gradient: upstream in, d x out.
@group(0) @binding(2) var<storage, read> dy: array<Element>;       // [N, H/2, W/2, C]
@group(0) @binding(3) var<storage, read_write> dx: array<Element>; // [N, H, W, C]

const SIZE = 64u;

// One element of a window: its position, and its four pixels in x.
struct Window {
  image: u32,
  row: u32,
  column: u32,
  element: u32,
  at: u32, // the upper left pixel
  right: u32,
  below: u32,
  across: u32,
}

fn window_at(index: u32) -> Window {
  let element = index % params.elements;
  let window = index / params.elements;
  let line = window / params.columns; // of all rows of windows
  let image = line / params.rows;
  let row = line - image * params.rows;
  let column = window - line * params.columns;
  let at = ((image * params.height + 2u * row) * params.width + 2u * column) *
    params.elements + element;
  let below = at + params.width * params.elements;
  return Window(
    image, row, column, element,
    at, at + params.elements, below, below + params.elements,
  );
}

@compute @workgroup_size(SIZE)
fn pool(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.x + group.y * groups.x) * SIZE + lane;
  if (index >= params.count) { return; }
  let window = window_at(index);
  y[index] = max(
    max(x[window.at], x[window.right]),
    max(x[window.below], x[window.across]),
  );
}

// dy at the first pixel (by row, then column) that is the largest; 0 elsewhere,
// and in an odd last row or column, which belongs to no window.
@compute @workgroup_size(SIZE)
fn gradient(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.x + group.y * groups.x) * SIZE + lane;
  if (index >= params.count) { return; }
  let window = window_at(index);
  let out_height = params.height / 2u;
  let out_width = params.width / 2u;

  if (window.row < out_height && window.column < out_width) {
    let a = x[window.at];
    let b = x[window.right];
    let c = x[window.below];
    let d = x[window.across];
    let largest = max(max(a, b), max(c, d));
    let line = window.image * out_height + window.row;
    let given = dy[
      (line * out_width + window.column) * params.elements + window.element
    ];
    // The share that remains for the pixels that follow.
    let to_a = select(Element(0), given, a == largest);
    let after_a = select(given, Element(0), a == largest);
    let to_b = select(Element(0), after_a, b == largest);
    let after_b = select(after_a, Element(0), b == largest);
    let to_c = select(Element(0), after_b, c == largest);
    dx[window.at] = to_a;
    dx[window.right] = to_b;
    dx[window.below] = to_c;
    dx[window.across] = select(after_b, Element(0), c == largest);
  } else { // beyond the last window: one pixel, or two beside each other
    dx[window.at] = Element(0);
    if (2u * window.column + 1u < params.width) { dx[window.right] = Element(0); }
    if (2u * window.row + 1u < params.height) { dx[window.below] = Element(0); }
  }
}
