// Entropies of attention maps, their weighted sum, and its gradient. See
// entropy.ts.

struct Params {
  rows: u32,
  locations: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Sums: attention in; (sum p log(p + epsilon), -sum p log p) of each row out.
@group(0) @binding(1) var<storage, read> attention: array<f32>;         // [rows, locations]
@group(0) @binding(2) var<storage, read_write> sums: array<vec2f>;      // [rows]

// Total: those sums and the weights in; their product out.
@group(0) @binding(1) var<storage, read> known_sums: array<vec2f>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;           // [rows]
@group(0) @binding(3) var<storage, read_write> total: array<f32>;       // [1]

// Gradient: attention, weights and d loss / d total in; d loss / d p out.
@group(0) @binding(3) var<storage, read> upstream: array<f32>;          // [1]
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;    // [rows, locations]

const SIZE = 256u;
const EPSILON = 1e-6; // the paper's
const LEAST = 1e-30;  // keeps the logarithm of 0 finite; its term is 0

var<workgroup> partials: array<vec2f, SIZE>;

fn add_up(lane: u32) {
  workgroupBarrier();
  for (var half = SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] += partials[lane + half]; }
    workgroupBarrier();
  }
}

// One workgroup a row.
@compute @workgroup_size(SIZE)
fn row_sums(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; } // the same for the whole workgroup
  let start = row * params.locations;
  var sum = vec2f(0.0);
  for (var i = lane; i < params.locations; i += SIZE) {
    let p = attention[start + i];
    sum += vec2f(p * log(p + EPSILON), -p * log(max(p, LEAST)));
  }
  partials[lane] = sum;
  add_up(lane);
  if (lane == 0u) { sums[row] = partials[0]; }
}

// One workgroup in all.
@compute @workgroup_size(SIZE)
fn weighted_sum(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var row = lane; row < params.rows; row += SIZE) {
    sum += weights[row] * known_sums[row].x;
  }
  partials[lane] = vec2f(sum, 0.0);
  add_up(lane);
  if (lane == 0u) { total[0] = partials[0].x; }
}

// One invocation a location.
@compute @workgroup_size(SIZE)
fn slopes(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let at = id.x + id.y * groups.x * SIZE; // a 2-D grid: > 65535 groups
  if (at >= params.rows * params.locations) { return; }
  let p = attention[at];
  let slope = log(p + EPSILON) + p / (p + EPSILON);
  gradient[at] = upstream[0] * weights[at / params.locations] * slope;
}
