// Adds up rows: sums[c, j] = sum over rows r = c, c + C, c + 2 C, ... of
// values[r, j], for C rows of sums. Neighbours read side by side.
// `Element` is one value or four.

struct Params {
  rows: u32,
  length: u32, // of a row, elements
  sums: u32,   // C
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<Element>;      // [rows, length]
@group(0) @binding(2) var<storage, read_write> sums: array<Element>;  // [C, length]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.x + group.y * groups.x) * 64u + lane;
  let width = params.sums * params.length;
  if (index >= width) { return; }
  var sum = Element(0);
  // rows * length is an index of `values`: no overflow.
  for (var at = index; at < params.rows * params.length; at += width) {
    sum += values[at];
  }
  sums[index] = sum;
}
