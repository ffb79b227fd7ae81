// The expectation over both stages from its draws, and its exact gradients. See
// expectation.ts for the layout, lib/sampling/expectation.ts for the maths.

struct Params {
  rows: u32,      // representations
  tiles: u32,     // T
  sub_tiles: u32, // S
  channels: u32,  // K
  samples: u32,   // N
  rule: u32,      // UNBIASED, LEAVE_ONE_OUT or ATS
}

// A tile that was drawn.
struct Tile {
  row: u32,   // representation that it belongs to
  count: u32, // n_c
  drawn: u32, // n: its sub-tiles
  first: u32, // its first sub-tile
}

@group(0) @binding(0) var<uniform> params: Params;

// Weights: attention of the sub-tiles in, their weights in F out.
@group(0) @binding(1) var<storage, read> tiles: array<Tile>;              // [T]
@group(0) @binding(2) var<storage, read> attention: array<f32>;           // [S]
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;       // [S]

// Representation: weights and features in, F out.
@group(0) @binding(2) var<storage, read> known_weights: array<f32>;       // [S]
@group(0) @binding(3) var<storage, read> features: array<f32>;            // [S, K]
@group(0) @binding(4) var<storage, read_write> representation: array<f32>; // [rows, K]

// Feature gradients: also d loss / d F in; d loss / d weight out, and those of
// the features.
@group(0) @binding(4) var<storage, read> upstream: array<f32>;            // [rows, K]
@group(0) @binding(5) var<storage, read_write> of_weights: array<f32>;    // [S]
@group(0) @binding(6) var<storage, read_write> of_features: array<f32>;   // [S, K]

// Attention gradients: d loss / d weight and both attentions in, their
// gradients out.
@group(0) @binding(3) var<storage, read> tile_attention: array<f32>;      // [T]
@group(0) @binding(4) var<storage, read> known_of_weights: array<f32>;    // [S]
@group(0) @binding(5) var<storage, read_write> of_tiles: array<f32>;      // [T]: x_c
@group(0) @binding(6) var<storage, read_write> of_sub_tile_attention: array<f32>; // [S]
@group(0) @binding(7) var<storage, read_write> of_tile_attention: array<f32>;     // [T]

const SIZE = 64u;
const LEAVE_ONE_OUT = 1u;
const ATS = 2u;
const LEAST_ATTENTION = 1e-30;

var<workgroup> partials: array<f32, SIZE>;

// W_k of a sub-tile within its tile, of n drawn.
fn within(b: f32, left: f32, k: u32, n: u32) -> f32 {
  return (left + f32(n - 1u - k) * b) / f32(n);
}

// One invocation a tile.
@compute @workgroup_size(SIZE)
fn tile_weights(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let c = id.x + id.y * groups.x * SIZE;
  if (c >= params.tiles) { return; }
  let tile = tiles[c];
  let share = f32(tile.count) / f32(params.samples);
  var before = 0.0;
  for (var k = 0u; k < tile.drawn; k++) {
    let b = attention[tile.first + k];
    weights[tile.first + k] = share * within(b, max(1.0 - before, 0.0), k, tile.drawn);
    before += b;
  }
}

// One invocation a channel of a row.
@compute @workgroup_size(SIZE)
fn weighted_features(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let at = id.x + id.y * groups.x * SIZE;
  if (at >= params.rows * params.channels) { return; }
  let row = at / params.channels;
  let channel = at % params.channels;
  var sum = 0.0;
  for (var c = 0u; c < params.tiles; c++) {
    if (tiles[c].row != row) { continue; }
    let end = tiles[c].first + tiles[c].drawn;
    for (var s = tiles[c].first; s < end; s++) {
      sum += known_weights[s] * features[s * params.channels + channel];
    }
  }
  representation[at] = sum;
}

// One workgroup a tile.
@compute @workgroup_size(SIZE)
fn feature_gradients(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let c = group.x + group.y * groups.x;
  if (c >= params.tiles) { return; } // the same for the whole workgroup
  let tile = tiles[c];
  for (var s = tile.first; s < tile.first + tile.drawn; s++) {
    var dot = 0.0;
    for (var k = lane; k < params.channels; k += SIZE) {
      let g = upstream[tile.row * params.channels + k];
      dot += g * features[s * params.channels + k];
      of_features[s * params.channels + k] = known_weights[s] * g;
    }
    partials[lane] = dot;
    workgroupBarrier();
    for (var half = SIZE / 2u; half > 0u; half /= 2u) {
      if (lane < half) { partials[lane] += partials[lane + half]; }
      workgroupBarrier();
    }
    if (lane == 0u) { of_weights[s] = partials[0]; }
    workgroupBarrier();
  }
}

// One workgroup in all, one invocation a tile.
@compute @workgroup_size(SIZE)
fn attention_gradients(@builtin(local_invocation_index) lane: u32) {
  for (var c = lane; c < params.tiles; c += SIZE) {
    let tile = tiles[c];
    var before = 0.0;
    var sum = 0.0;
    for (var k = 0u; k < tile.drawn; k++) {
      let s = tile.first + k;
      sum += known_of_weights[s] *
        within(attention[s], max(1.0 - before, 0.0), k, tile.drawn);
      before += attention[s];
    }
    of_tiles[c] = sum;
  }
  storageBarrier();
  for (var c = lane; c < params.tiles; c += SIZE) {
    let tile = tiles[c];
    let samples = f32(params.samples);
    let count = f32(tile.count);
    var own = of_tiles[c];
    var others = 0.0;
    if (params.rule == LEAVE_ONE_OUT && params.samples > 1u) {
      var mean = 0.0;
      for (var i = 0u; i < params.tiles; i++) {
        if (tiles[i].row == tile.row) { mean += f32(tiles[i].count) * of_tiles[i]; }
      }
      mean /= samples;
      if (tile.count < params.samples) {
        others = (samples * mean - count * own) / (samples - count);
      }
      own = (own - mean) * samples / (samples - 1.0);
    }
    let share = count / samples;
    of_tile_attention[c] = own * share / max(tile_attention[c], LEAST_ATTENTION);

    let n = f32(tile.drawn);
    var before = 0.0;    // sum of b_j
    var weighted = 0.0;  // sum of b_j g_j
    var plain = 0.0;     // sum of g_j
    for (var k = 0u; k < tile.drawn; k++) {
      let s = tile.first + k;
      let b = attention[s];
      let left = max(1.0 - before, 0.0);
      let ratio = left / max(b, LEAST_ATTENTION);
      let g = (known_of_weights[s] - others) * share;
      if (params.rule == ATS) {
        of_sub_tile_attention[s] =
          ((weighted + left * g) * ratio + plain - f32(k) * g) / n;
      } else {
        of_sub_tile_attention[s] = g * (f32(tile.drawn - 1u - k) + ratio) / n;
      }
      before += b;
      weighted += b * g;
      plain += g;
    }
  }
}
