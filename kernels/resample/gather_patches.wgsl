// Copies N patches out of one decoded region: packed RGBA8 in, f32 RGB in
// [0, 1] out. One invocation writes one output pixel. See gather_patches.ts;
// one_image.wgsl or many_images.wgsl comes before it.

struct Params {
  region: vec2u, // region width, height, px
  size: vec2u,   // patch width, height, px
  count: u32,    // N
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pixels: array<u32>;        // of packed RGBA8, row after row
@group(0) @binding(3) var<storage, read_write> patches: array<f32>; // [N, h, w, 3]

const SIZE = 64u;

@compute @workgroup_size(SIZE)
fn main(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let index = id.x + id.y * groups.x * SIZE; // a 2-D grid: > 65535 groups
  let area = params.size.x * params.size.y;
  if (index >= params.count * area) { return; }

  let within = vec2u(index % params.size.x, (index % area) / params.size.x);
  let view = view_of(index / area);
  let at = view.origin + vec2i(within);

  var rgb = vec3f(0.0); // zero padding outside the region, section 2.1
  if (all(at >= vec2i(0)) && all(at < vec2i(view.region))) {
    rgb = unpack4x8unorm(pixels[view.first + u32(at.y) * view.region.x + u32(at.x)]).rgb;
  }
  patches[index * 3u + 0u] = rgb.r;
  patches[index * 3u + 1u] = rgb.g;
  patches[index * 3u + 2u] = rgb.b;
}
