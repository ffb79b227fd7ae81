// One step of AdamW for all parameters, packed one after the other: the sum of
// squares of each gradient, then the step itself, with all gradients clipped by
// their common norm. See adamw.ts.

struct Params {
  parameters: u32,
  length: u32,    // P: values of all parameters
  clip_norm: f32, // bound of the norm of all gradients
}

// A parameter's part of the step, and its values [start, end) of all.
struct Parameter {
  start: u32,
  end: u32,
  rate: f32, // learning rate / (1 - beta1^t)
  root: f32, // 1 / (1 - beta2^t)
  kept: f32, // 1 - learning rate * weight decay
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<Parameter>;   // [parameters]
@group(0) @binding(2) var<storage, read> gradients: array<f32>;     // [P]

// Sums: out of the gradients.
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;    // [parameters]

// Step: gradients, their sums, values and moments in; values and moments out.
@group(0) @binding(3) var<storage, read> squares: array<f32>;       // [parameters]
@group(0) @binding(4) var<storage, read> old_values: array<f32>;    // [P]
@group(0) @binding(5) var<storage, read> old_moments: array<f32>;   // [2, P]
@group(0) @binding(6) var<storage, read_write> values: array<f32>;  // [P]
@group(0) @binding(7) var<storage, read_write> moments: array<f32>; // [2, P]

const SIZE = 256u;
const BETA1 = 0.9;
const BETA2 = 0.999;
const EPSILON = 1e-8;

var<workgroup> partials: array<f32, SIZE>;

// One workgroup a parameter.
@compute @workgroup_size(SIZE)
fn sum_squares(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = group.x + group.y * groups.x;
  if (index >= params.parameters) { return; } // the same for the whole workgroup
  var sum = 0.0;
  for (var i = table[index].start + lane; i < table[index].end; i += SIZE) {
    sum += gradients[i] * gradients[i];
  }
  partials[lane] = sum;
  workgroupBarrier();
  for (var half = SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] += partials[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u) { sums[index] = partials[0]; }
}

// One invocation a value.
@compute @workgroup_size(SIZE)
fn step_values(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let at = id.x + id.y * groups.x * SIZE; // a 2-D grid: > 65535 groups
  if (at >= params.length) { return; }
  var total = 0.0;
  var own = 0u;
  for (var i = 0u; i < params.parameters; i++) {
    total += squares[i];
    if (at >= table[i].start) { own = i; }
  }
  let norm = sqrt(total);
  // A norm that is no number passes, and shows.
  let factor = select(params.clip_norm / norm, 1.0, norm <= params.clip_norm);
  let gradient = gradients[at] * factor;
  let first = BETA1 * old_moments[at] + (1.0 - BETA1) * gradient;
  let second = BETA2 * old_moments[params.length + at] +
    (1.0 - BETA2) * gradient * gradient;
  let change = first / (sqrt(second * table[own].root) + EPSILON);
  values[at] = old_values[at] * table[own].kept - change * table[own].rate;
  moments[at] = first;
  moments[params.length + at] = second;
}
