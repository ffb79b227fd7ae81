// Colours of views as the networks see them: gain, changed optical densities,
// and normalisation, for the views of all images at once. One invocation a
// pixel. See input_colours.ts.

struct Params {
  width: u32,
  height: u32,
  count: u32,     // N: views
  is_whole: u32,  // 1 if all views lie inside their images
  darkest: f32,   // least share of light
  mean_r: f32,
  mean_g: f32,
  mean_b: f32,
  deviation_r: f32,
  deviation_g: f32,
  deviation_b: f32,
}

// How a view's colours change.
struct Change {
  gain: f32,
  is_restained: f32,          // 1 if densities change
  densities: array<f32, 9>,   // [3, 3], row by row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> views: array<f32>;         // [N, h, w, 3]
@group(0) @binding(2) var<storage, read> changes: array<Change>;    // [N]
@group(0) @binding(3) var<storage, read> shares: array<f32>;        // [N, h + w] inside the image
@group(0) @binding(4) var<storage, read_write> inputs: array<f32>;  // [N, h, w, 3]

const SIZE = 64u;

@compute @workgroup_size(SIZE)
fn main(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let index = id.x + id.y * groups.x * SIZE; // a 2-D grid: > 65535 groups
  let area = params.width * params.height;
  if (index >= params.count * area) { return; }
  let view = index / area;

  var inside = 1.0;
  if (params.is_whole == 0u) {
    let row = (index % area) / params.width;
    let start = view * (params.height + params.width);
    let column = start + params.height + index % params.width;
    inside = shares[start + row] * shares[column];
  }

  var rgb = vec3f(views[index * 3u], views[index * 3u + 1u], views[index * 3u + 2u]);
  // White is the brightest colour, also if part of a pixel is padding.
  rgb = min(rgb * changes[view].gain, vec3f(inside));
  if (changes[view].is_restained == 1.0) {
    let darkest = vec3f(params.darkest);
    let logs = log(max(rgb / max(inside, params.darkest), darkest));
    var changed = vec3f(0.0);
    for (var i = 0u; i < 3u; i++) {
      let row = vec3f(
        changes[view].densities[i * 3u],
        changes[view].densities[i * 3u + 1u],
        changes[view].densities[i * 3u + 2u],
      );
      changed += logs[i] * row;
    }
    rgb = min(exp(changed), vec3f(1.0)) * inside;
  }
  let mean = vec3f(params.mean_r, params.mean_g, params.mean_b);
  let deviation = vec3f(params.deviation_r, params.deviation_g, params.deviation_b);
  rgb = (rgb - mean * inside) / deviation;
  inputs[index * 3u] = rgb.r;
  inputs[index * 3u + 1u] = rgb.g;
  inputs[index * 3u + 2u] = rgb.b;
}
