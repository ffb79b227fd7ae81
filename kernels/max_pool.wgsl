// The largest of each window of 2x2 pixels; an odd last row or column belongs
// to none. `Element` is one channel or four. One invocation, one element of y.

struct Params {
  height: u32, // of x, px
  width: u32,
  out_height: u32,
  out_width: u32,
  elements: u32, // of a pixel
  count: u32,    // of elements of y
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;       // [N, H, W, C]
@group(0) @binding(2) var<storage, read_write> y: array<Element>; // [N, H/2, W/2, C]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.x + group.y * groups.x) * 64u + lane;
  if (index >= params.count) { return; }
  let pixel = index / params.elements;
  let line = pixel / params.out_width; // of all rows of y
  let n = line / params.out_height;
  let row = n * params.height + 2u * (line - n * params.out_height);
  let column = 2u * (pixel - line * params.out_width);
  let at = (row * params.width + column) * params.elements + index % params.elements;
  let below = at + params.width * params.elements;
  y[index] = max(
    max(x[at], x[at + params.elements]),
    max(x[below], x[below + params.elements]),
  );
}
