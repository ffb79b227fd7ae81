/**
 * Opens a slide on a web server, and reads one region of it: only the bytes of
 * that region are fetched.
 *
 *     deno run -A examples/remote_slide.ts https://slides.example.org/a.tif
 */
import { openImage } from "../lib/mod.ts";

const [url] = Deno.args;
if (!url) throw new Error("Give a URL");

const slide = await openImage(url);
console.log(
  `${slide.width} x ${slide.height} px, ${slide.mpp ?? "?"} um per px`,
);
for (const { width, height, downsample } of slide.levels) {
  console.log(
    `  level of ${width} x ${height} px, ${downsample} times smaller`,
  );
}
const region = { x: 0, y: 0, width: 256, height: 256 };
const { data } = await slide.read(region, 0); // RGBA, row after row
console.log(`first pixel: ${data.subarray(0, 3).join(", ")}`);
const { bytes, requests } = slide.traffic;
console.log(`${bytes} bytes in ${requests} requests`);
slide.close();
