// The figures of a micro-batch for the log as one vector: the loss, the sums of the
// entropies, the sum of the directions of the sub-tiles' features, the largest
// value of each channel, and the logits of the images. One workgroup in all. See
// step_report.ts.

struct Params {
  tiles: u32,     // maps of stage I
  sub_tiles: u32, // maps of stage II
  rows: u32,      // S: sub-tiles
  channels: u32,  // K
  logits: u32,    // of the images
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> loss: array<f32>;               // [1]
@group(0) @binding(2) var<storage, read> tiles: array<vec2f>;            // [tiles]
@group(0) @binding(3) var<storage, read> sub_tiles: array<vec2f>;        // [sub_tiles]
@group(0) @binding(4) var<storage, read> features: array<f32>;           // [S, K]
@group(0) @binding(5) var<storage, read> logits: array<f32>;             // [G, classes]
@group(0) @binding(6) var<storage, read_write> inverses: array<f32>;     // [S]: 1 / length
@group(0) @binding(7) var<storage, read_write> report: array<f32>;

const SIZE = 256u;
const HEAD = 7u;
const LOWEST = -3.4028234e38;
const LEAST_LENGTH = 1e-12; // a shorter row has no direction

var<workgroup> partials: array<f32, SIZE>;

// The sum of a value of each invocation, for all of them.
fn added_up(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  partials[lane] = value;
  workgroupBarrier();
  for (var half = SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] += partials[lane + half]; }
    workgroupBarrier();
  }
  return partials[0];
}

@compute @workgroup_size(SIZE)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < params.tiles; i += SIZE) { sum += tiles[i].y; }
  let tile_entropy = added_up(sum, lane);
  sum = 0.0;
  for (var i = lane; i < params.sub_tiles; i += SIZE) { sum += sub_tiles[i].y; }
  let sub_tile_entropy = added_up(sum, lane);

  var same = 0.0; // cosines of the rows with themselves
  for (var row = lane; row < params.rows; row += SIZE) {
    var squares = 0.0;
    for (var k = 0u; k < params.channels; k++) {
      let value = features[row * params.channels + k];
      squares += value * value;
    }
    let inverse = select(0.0, 1.0 / sqrt(squares), sqrt(squares) > LEAST_LENGTH);
    inverses[row] = inverse;
    same += squares * inverse * inverse;
  }
  same = added_up(same, lane);
  storageBarrier();

  for (var k = lane; k < params.channels; k += SIZE) {
    var direction = 0.0;
    var largest = LOWEST;
    for (var row = 0u; row < params.rows; row++) {
      let value = features[row * params.channels + k];
      direction += value * inverses[row];
      largest = max(largest, value);
    }
    report[HEAD + k] = direction;
    report[HEAD + params.channels + k] = largest;
  }
  for (var i = lane; i < params.logits; i += SIZE) {
    report[HEAD + 2u * params.channels + i] = logits[i];
  }
  if (lane == 0u) {
    report[0] = loss[0];
    report[1] = tile_entropy;
    report[2] = f32(params.tiles);
    report[3] = sub_tile_entropy;
    report[4] = f32(params.sub_tiles);
    report[5] = same;
    report[6] = f32(params.rows);
  }
}
