// Cross-entropy of rows of logits against weighted targets, and its gradient.
// One workgroup in all. See cross_entropy.ts.

struct Params {
  rows: u32,
  classes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;           // [rows, classes]
@group(0) @binding(2) var<storage, read> targets: array<f32>;          // [rows, classes]
@group(0) @binding(3) var<storage, read_write> value: array<f32>;      // [1]
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;   // [rows, classes]

const SIZE = 256u;

var<workgroup> partials: array<f32, SIZE>;

// One invocation a row.
@compute @workgroup_size(SIZE)
fn main(@builtin(local_invocation_index) lane: u32) {
  var loss = 0.0;
  for (var row = lane; row < params.rows; row += SIZE) {
    let start = row * params.classes;
    let end = start + params.classes;
    var highest = logits[start];
    for (var i = start + 1u; i < end; i++) { highest = max(highest, logits[i]); }
    var sum = 0.0;
    var weight = 0.0;
    for (var i = start; i < end; i++) {
      sum += exp(logits[i] - highest);
      weight += targets[i];
    }
    let normaliser = log(sum);
    for (var i = start; i < end; i++) {
      let share = logits[i] - highest - normaliser;
      loss -= targets[i] * share;
      gradient[i] = weight * exp(share) - targets[i];
    }
  }
  partials[lane] = loss;
  workgroupBarrier();
  for (var half = SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] += partials[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u) { value[0] = partials[0]; }
}
