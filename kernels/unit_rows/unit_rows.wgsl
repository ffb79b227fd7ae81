// Rows of unit length, and their gradient. One workgroup a row. See unit_rows.ts.

struct Params {
  rows: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Forward: x in; y and 1 / |x| out.
@group(0) @binding(1) var<storage, read> x: array<f32>;               // [rows, channels]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;         // [rows, channels]
@group(0) @binding(3) var<storage, read_write> inverses: array<f32>;  // [rows]

// Gradient: y, 1 / |x| and dy in; dx out.
@group(0) @binding(1) var<storage, read> unit: array<f32>;
@group(0) @binding(2) var<storage, read> known_inverses: array<f32>;
@group(0) @binding(3) var<storage, read> upstream: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;

const SIZE = 64u;
const LEAST_LENGTH = 1e-12;

var<workgroup> partials: array<f32, SIZE>;

// The sum of a value of each invocation, for all of them.
fn added_up(value: f32, lane: u32) -> f32 {
  partials[lane] = value;
  workgroupBarrier();
  for (var half = SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] += partials[lane + half]; }
    workgroupBarrier();
  }
  return partials[0];
}

@compute @workgroup_size(SIZE)
fn forward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; } // the same for the whole workgroup
  let start = row * params.channels;
  var squares = 0.0;
  for (var k = lane; k < params.channels; k += SIZE) {
    squares += x[start + k] * x[start + k];
  }
  let length = sqrt(added_up(squares, lane));
  let inverse = select(0.0, 1.0 / length, length > LEAST_LENGTH);
  for (var k = lane; k < params.channels; k += SIZE) {
    y[start + k] = x[start + k] * inverse;
  }
  if (lane == 0u) { inverses[row] = inverse; }
}

@compute @workgroup_size(SIZE)
fn backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let start = row * params.channels;
  var dot = 0.0;
  for (var k = lane; k < params.channels; k += SIZE) {
    dot += unit[start + k] * upstream[start + k];
  }
  let along = added_up(dot, lane);
  for (var k = lane; k < params.channels; k += SIZE) {
    let at = start + k;
    dx[at] = (upstream[at] - unit[at] * along) * known_inverses[row];
  }
}
