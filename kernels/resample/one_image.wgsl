// The views are of one image: a first corner each. Comes before downsample.wgsl
// and gather_patches.wgsl, whose `params` has the image's size.

@group(0) @binding(2) var<storage, read> origins: array<vec2i>; // [N] of (x, y), may lie outside

struct View {
  origin: vec2i,
  first: u32,    // place of the image's first pixel
  region: vec2u, // width, height of the image, px
}

fn view_of(n: u32) -> View {
  return View(origins[n], 0u, params.region);
}
