// The views are of several images whose pixels lie one after the other: a row of
// a table each. In the place of one_image.wgsl; see together.ts.

@group(0) @binding(2) var<storage, read> table: array<i32>; // [N, 5] of a View

struct View {
  origin: vec2i, // may lie outside
  first: u32,    // place of the image's first pixel
  region: vec2u, // width, height of the image, px
}

fn view_of(n: u32) -> View {
  let at = 5u * n;
  return View(
    vec2i(table[at], table[at + 1u]),
    u32(table[at + 2u]),
    vec2u(u32(table[at + 3u]), u32(table[at + 4u])),
  );
}
