// Top-k: a workgroup selects the best k of a segment of 2048 (value, index)
// pairs; the candidates of all segments go through the same until one segment
// is left. random.wgsl is prepended. See sample.ts.

struct Params {
  rows: u32,
  length: u32,   // of a row of the input
  segments: u32, // a row
  top: u32,      // k <= 1024
  columns: u32,  // of the map: index -> (row, column)
  row_offset: u32,
  column_offset: u32,
  source: u32,   // SCORED, PLAIN or CANDIDATES
  known: u32,    // pairs a row that were taken before; 0: none
}

// Kinds of source: log-weights that get noise, values as they are, or the
// candidates of an earlier pass.
const SCORED = 0u;
const PLAIN = 1u;
const CANDIDATES = 2u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source_values: array<f32>;  // [rows, length]
@group(0) @binding(2) var<storage, read> source_words: array<u32>;   // [rows, 2] keys, or [rows, length] indices
@group(0) @binding(3) var<storage, read> known_values: array<f32>;   // [rows, known], best first
@group(0) @binding(4) var<storage, read> known_indices: array<u32>;
@group(0) @binding(5) var<storage, read_write> top_values: array<u32>; // [rows, segments, k], bits of f32
@group(0) @binding(6) var<storage, read_write> top_indices: array<u32>;

const SIZE = 256u;
const SEGMENT = 2048u;
const LOWEST = -3.4028234e38; // stands for -inf, as in softmax/softmax.wgsl
const NONE = 0xffffffffu;     // no location: -1 as int32, sorted last

// 16 KiB together, which every device offers.
var<workgroup> values: array<f32, SEGMENT>;
var<workgroup> indices: array<u32, SEGMENT>;

// Slot `a` must precede slot `b`.
fn precedes(a: u32, b: u32) -> bool {
  return values[a] > values[b] || (values[a] == values[b] && indices[a] < indices[b]);
}

// Puts slots in order: the better one first, or last.
fn put_in_order(low: u32, high: u32, best_first: bool) {
  if (precedes(high, low) == best_first) {
    let value = values[low];
    let index = indices[low];
    values[low] = values[high];
    indices[low] = indices[high];
    values[high] = value;
    indices[high] = index;
  }
}

// Brings the best of a segment to its first slots, in order. Blocks of the power
// of two of slots that holds k are sorted, in turn best first and best last
// (bitonic sort). Of two such blocks side by side, the better of each two slots
// are the best of both, and they are merged again, until one block is left:
// a third of the steps of a whole sort for k = 30. `segment` is the same for the
// whole workgroup, so the barriers are met by all.
fn sort_segment(segment: u32, lane: u32) {
  let filled = min(params.length - segment * SEGMENT, SEGMENT);
  let size = power_of_two(filled);
  let kept = min(power_of_two(params.top), size);
  for (var block = 2u; block <= kept; block *= 2u) {
    for (var distance = block / 2u; distance > 0u; distance /= 2u) {
      for (var pair = lane; pair < size / 2u; pair += SIZE) {
        let low = (pair / distance) * distance * 2u + pair % distance;
        put_in_order(low, low + distance, (low & block) == 0u);
      }
      workgroupBarrier();
    }
  }
  // Blocks lie ever further apart: nothing is moved that another reads.
  for (var apart = kept; apart < size; apart *= 2u) {
    let slots = size / (2u * apart) * kept; // of the blocks that stay
    for (var at = lane; at < slots; at += SIZE) {
      let slot = (at / kept) * 2u * apart + at % kept;
      put_in_order(slot, slot + apart, true);
    }
    workgroupBarrier();
    for (var distance = kept / 2u; distance > 0u; distance /= 2u) {
      for (var pair = lane; pair < slots / 2u; pair += SIZE) {
        let at = (pair / distance) * distance * 2u + pair % distance;
        let block = at / kept;
        let low = block * 2u * apart + at % kept;
        put_in_order(low, low + distance, (block & 1u) == 0u);
      }
      workgroupBarrier();
    }
  }
}

// The smallest power of two that is not below `count`.
fn power_of_two(count: u32) -> u32 {
  return 1u << (32u - countLeadingZeros(count - 1u));
}

fn keep_top(row: u32, segment: u32, lane: u32) {
  let start = (row * params.segments + segment) * params.top;
  for (var i = lane; i < params.top; i += SIZE) {
    top_indices[start + i] = indices[i];
    top_values[start + i] = select(bitcast<u32>(values[i]), 0xff800000u, indices[i] == NONE);
  }
}

// A value and its index in the map, NONE if it is not to be drawn.
struct Pair {
  value: f32,
  index: u32,
}

fn pair_at(row: u32, index: u32) -> Pair {
  let none = Pair(LOWEST, NONE);
  if (index >= params.length) { return none; }
  let value = source_values[row * params.length + index];
  if (params.source == CANDIDATES) {
    let candidate = source_words[row * params.length + index];
    if (candidate == NONE) { return none; }
    return Pair(value, candidate);
  }
  if (!(value > LOWEST)) { return none; }
  if (params.source == PLAIN) { return Pair(value, index); }
  let counter = vec4u(
    params.row_offset + index / params.columns,
    params.column_offset + index % params.columns,
    source_words[2u * row],
    source_words[2u * row + 1u],
  );
  return Pair(value - log(exponential(pcg4d(counter).x)), index);
}

// A pair was taken before: it is the worst one taken, or precedes it.
fn is_known(row: u32, pair: Pair) -> bool {
  if (params.known == 0u) { return false; }
  let worst = (row + 1u) * params.known - 1u;
  if (known_indices[worst] == NONE) { return true; } // all there were
  return pair.value > known_values[worst] ||
    (pair.value == known_values[worst] && pair.index <= known_indices[worst]);
}

@compute @workgroup_size(SIZE)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let at = group.x + group.y * groups.x;
  let row = at / params.segments;
  if (row >= params.rows) { return; } // the same for the whole workgroup
  let segment = at % params.segments;

  for (var slot = lane; slot < SEGMENT; slot += SIZE) {
    let pair = pair_at(row, segment * SEGMENT + slot);
    let is_new = !is_known(row, pair);
    values[slot] = select(LOWEST, pair.value, is_new);
    indices[slot] = select(NONE, pair.index, is_new);
  }
  workgroupBarrier();
  sort_segment(segment, lane);
  keep_top(row, segment, lane);
}
