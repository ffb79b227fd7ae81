// The generator of random.ts: same integers, same formulas. This text is put
// in front of the kernels that draw.

fn pcg4d(counter: vec4u) -> vec4u {
  var v = counter * 1664525u + 1013904223u;
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  v ^= v >> vec4u(16u);
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  return v;
}

// E = -log(1 - v), v = (bits + 0.5) / 2^32, with full relative precision:
// v <= 1/2: 2 atanh(s), s = v / (2 - v) <= 1/3, as a series whose rest is below 2^-24;
// v > 1/2: the logarithm of the complement, which f32 holds exactly enough.
fn exponential(bits: u32) -> f32 {
  const scale = 1.0 / 4294967296.0;
  if (bits >= 0x80000000u) {
    return -log((f32(~bits) + 0.5) * scale);
  }
  let v = (f32(bits) + 0.5) * scale;
  let s = v / (2.0 - v);
  let q = s * s;
  return 2.0 * s * (1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 +
    q * (1.0 / 9.0 + q * (1.0 / 11.0 + q * (1.0 / 13.0 + q / 15.0)))))));
}
