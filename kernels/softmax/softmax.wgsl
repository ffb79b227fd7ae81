// Softmax over rows that may be huge, and its gradient. One workgroup takes one
// segment of one row; see softmax.ts for the maths.

struct Params {
  rows: u32,
  locations: u32,
  segments: u32, // a row
  segment: u32,  // locations a segment
}

// Forward: logits in, (max, sum of exp) a segment, attention out.
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;             // [rows, locations]
@group(0) @binding(2) var<storage, read_write> sums: array<vec2f>;       // [rows, segments]
@group(0) @binding(2) var<storage, read> known_sums: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> attention_out: array<f32>;

// Gradient: attention and upstream in, (dot, 0) a segment, d logits out.
@group(0) @binding(1) var<storage, read> attention: array<f32>;
@group(0) @binding(2) var<storage, read> upstream: array<f32>;
@group(0) @binding(3) var<storage, read_write> dots: array<vec2f>;
@group(0) @binding(3) var<storage, read> known_dots: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> logits_gradient: array<f32>;

const SIZE = 256u;
// -inf without infinities, which WGSL lets a compiler assume away.
const LOWEST = -3.4028234e38;

var<workgroup> partials: array<vec2f, SIZE>;

// The segment of a workgroup: its row, and its locations [start, end) of all.
struct Segment {
  index: u32, // of all segments
  row: u32,
  start: u32,
  end: u32,
}

fn segment_at(group: vec3u, groups: vec3u) -> Segment {
  let index = group.x + group.y * groups.x;
  let row = index / params.segments;
  let first = (index % params.segments) * params.segment;
  let start = row * params.locations;
  return Segment(
    index,
    row,
    start + first,
    start + min(first + params.segment, params.locations),
  );
}

// (max, sum) of two sets of logits; the sum counts from the set's own max.
fn merge(a: vec2f, b: vec2f) -> vec2f {
  let highest = max(a.x, b.x);
  return vec2f(highest, a.y * exp(a.x - highest) + b.y * exp(b.x - highest));
}


@compute @workgroup_size(SIZE)
fn segment_sums(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let segment = segment_at(group, groups);
  if (segment.row >= params.rows) { return; } // the same for the whole workgroup

  var highest = LOWEST;
  for (var i = segment.start + lane; i < segment.end; i += SIZE) {
    highest = max(highest, logits[i]);
  }
  var sum = 0.0;
  for (var i = segment.start + lane; i < segment.end; i += SIZE) {
    if (logits[i] > LOWEST) { sum += exp(logits[i] - highest); }
  }
  partials[lane] = vec2f(highest, sum);
  workgroupBarrier();
  for (var half = SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] = merge(partials[lane], partials[lane + half]); }
    workgroupBarrier();
  }
  if (lane == 0u) { sums[segment.index] = partials[0]; }
}

@compute @workgroup_size(SIZE)
fn normalise(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let segment = segment_at(group, groups);
  if (segment.row >= params.rows) { return; }

  var total = vec2f(LOWEST, 0.0);
  for (var i = lane; i < params.segments; i += SIZE) {
    total = merge(total, known_sums[segment.row * params.segments + i]);
  }
  partials[lane] = total;
  workgroupBarrier();
  for (var half = SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] = merge(partials[lane], partials[lane + half]); }
    workgroupBarrier();
  }
  let highest = partials[0].x;
  let sum = partials[0].y;
  for (var i = segment.start + lane; i < segment.end; i += SIZE) {
    var p = 0.0;
    if (logits[i] > LOWEST) { p = exp(logits[i] - highest) / sum; }
    attention_out[i] = p;
  }
}

@compute @workgroup_size(SIZE)
fn segment_dots(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let segment = segment_at(group, groups);
  if (segment.row >= params.rows) { return; }

  var dot_product = 0.0;
  for (var i = segment.start + lane; i < segment.end; i += SIZE) {
    dot_product += attention[i] * upstream[i];
  }
  partials[lane] = vec2f(dot_product, 0.0);
  workgroupBarrier();
  for (var half = SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] += partials[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u) { dots[segment.index] = partials[0]; }
}

@compute @workgroup_size(SIZE)
fn gradient(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let segment = segment_at(group, groups);
  if (segment.row >= params.rows) { return; }

  var total = vec2f(0.0);
  for (var i = lane; i < params.segments; i += SIZE) {
    total += known_dots[segment.row * params.segments + i];
  }
  partials[lane] = total;
  workgroupBarrier();
  for (var half = SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] += partials[lane + half]; }
    workgroupBarrier();
  }
  let dot_product = partials[0].x;
  for (var i = segment.start + lane; i < segment.end; i += SIZE) {
    logits_gradient[i] = attention[i] * (upstream[i] - dot_product);
  }
}
