// Lays the weights of a direct convolution out as its passes and blocks read
// them: a slice for each pass and block, on a 256-byte boundary,
//
//     bias of the block's outputs (zeros but in the first pass),
//     then [rows, k, inputs of the pass, outputs of the block],
//
// outputs filled up with zeros to a multiple of 4. The input gradient takes the
// filter rotated by 180 degrees with its channels swapped, and no bias. One
// invocation writes one float.

struct Params {
  kernel: u32,
  inputs: u32,       // of the convolution that is computed
  outputs: u32,
  rows: u32,         // of a pass
  input_block: u32,
  output_block: u32,
  slice: u32,        // floats
  slices: u32,
  turned: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>; // [k, k, I, O]; turned: [k, k, O, I]
@group(0) @binding(2) var<storage, read> bias: array<f32>;    // [O]; turned: anything
@group(0) @binding(3) var<storage, read_write> slices: array<f32>;

fn weight_at(ky: u32, kx: u32, i: u32, o: u32) -> f32 {
  let k = params.kernel;
  if (params.turned == 0u) {
    return weights[((ky * k + kx) * params.inputs + i) * params.outputs + o];
  }
  let tap = (k - 1u - ky) * k + k - 1u - kx;
  return weights[(tap * params.outputs + o) * params.inputs + i];
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.x + group.y * groups.x) * 64u + lane;
  if (index >= params.slices * params.slice) { return; }
  let blocks = params.outputs / params.output_block;
  let input_blocks = params.inputs / params.input_block;
  let lanes = (params.output_block + 3u) / 4u * 4u;

  let slice = index / params.slice;
  let step = slice / blocks; // the pass
  let at = index % params.slice;
  let within = at % lanes;
  let o = slice % blocks * params.output_block + within;
  let filled = within < params.output_block;

  var value = 0f;
  if (at < lanes) {
    if (filled && step == 0u && params.turned == 0u) { value = bias[o]; }
  } else {
    let i = at / lanes - 1u; // of [rows, k, input_block]
    let tap = i / params.input_block;
    let row = tap / params.kernel;
    if (filled && row < params.rows) {
      value = weight_at(
        step / input_blocks * params.rows + row,
        tap % params.kernel,
        step % input_blocks * params.input_block + i % params.input_block,
        o,
      );
    }
  }
  slices[index] = value;
}
