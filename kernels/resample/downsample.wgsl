// Area-weighted mean of the source pixels of each output pixel: packed RGBA8
// in, f32 RGB in [0, 1] out. One invocation an output pixel. See downsample.ts;
// one_image.wgsl or many_images.wgsl comes before it.

struct Params {
  region: vec2u, // region width, height, px
  size: vec2u,   // source rectangle, px
  output: vec2u, // whole result, px
  pixels: vec2u, // part of it to compute, px
  phase: vec2u,  // offset of an origin in its pixel, 1/output px
  end: vec2u,    // end of the source, from an origin on, 1/output px
  count: u32,    // N
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pixels: array<u32>;      // of packed RGBA8, row after row
@group(0) @binding(3) var<storage, read_write> views: array<f32>; // [N, pixels, 3]

const SIZE = 64u;

// Length that source pixel `at` shares with output pixel `to`, in 1/output px:
// whole numbers, so nothing is rounded and the lengths of an output pixel add
// up to `size`.
fn shared_length(at: u32, to: u32, size: u32, output: u32, phase: u32, limit: u32) -> f32 {
  let start = max(at * output, phase + to * size);
  let end = min(min((at + 1u) * output, phase + (to + 1u) * size), limit);
  return f32(max(end, start) - start);
}

@compute @workgroup_size(SIZE)
fn main(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let index = id.x + id.y * groups.x * SIZE; // a 2-D grid: > 65535 groups
  let area = params.pixels.x * params.pixels.y;
  if (index >= params.count * area) { return; }
  let to = vec2u(index % params.pixels.x, (index % area) / params.pixels.x);
  let view = view_of(index / area);
  let origin = view.origin;

  // Source pixels [first, last) of the rectangle, cut to the region.
  let first = max(vec2i((params.phase + to * params.size) / params.output), -origin);
  let end = params.phase + (to + 1u) * params.size;
  let covered = (end + params.output - 1u) / params.output;
  let last = min(vec2i(covered), vec2i(view.region) - origin);

  var rgb = vec3f(0.0);
  for (var y = first.y; y < last.y; y++) {
    let row = view.first + u32(origin.y + y) * view.region.x;
    var line = vec3f(0.0);
    for (var x = first.x; x < last.x; x++) {
      let pixel = unpack4x8unorm(pixels[row + u32(origin.x + x)]).rgb;
      line += pixel * shared_length(
        u32(x), to.x, params.size.x, params.output.x, params.phase.x, params.end.x,
      );
    }
    let height = shared_length(
      u32(y), to.y, params.size.y, params.output.y, params.phase.y, params.end.y,
    );
    rgb += line * (height / f32(params.size.y));
  }
  rgb /= f32(params.size.x);
  views[index * 3u + 0u] = rgb.r;
  views[index * 3u + 1u] = rgb.g;
  views[index * 3u + 2u] = rgb.b;
}
