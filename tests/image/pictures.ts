/**
 * Small pictures for the image tests, and helpers to inspect pixels.
 *
 * @module
 */
import { join } from "node:path";
import sharp, { type Sharp } from "sharp";
import type { Orientation } from "../../lib/image/pyramids/orientation.ts";
import type { Pixels, Pyramid } from "../../lib/image/pyramid.ts";

/** A picture without symmetry: every orientation changes it. */
export function asymmetricPicture(width = 5, height = 3): Pixels {
  const data = new Uint8Array(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    data.set([i * 7 % 256, 255 - i * 5 % 256, i * 31 % 256, 255], i * 4);
  }
  return { data, width, height };
}

/** `pixels` for sharp to encode. */
export function toSharp({ data, width, height }: Pixels): Sharp {
  return sharp(data, { raw: { width, height, channels: 4 } });
}

/** A folder of files, gone when the test is. */
export class TemporaryFolder implements Disposable {
  readonly path = Deno.makeTempDirSync();

  /** Writes a file and returns its path. */
  write(name: string, data: Uint8Array): string {
    const path = join(this.path, name);
    Deno.writeFileSync(path, data);
    return path;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** All of level 0. */
export async function readAll(image: Pyramid): Promise<Pixels> {
  const { width, height } = image;
  return await image.read({ x: 0, y: 0, width, height }, 0);
}

/** Red, green, blue, alpha of one pixel. */
export function pixelAt(
  { data, width }: Pixels,
  x: number,
  y: number,
): number[] {
  return [...data.subarray((y * width + x) * 4, (y * width + x) * 4 + 4)];
}

/** The inverse of `orientation`: all but the quarter turns are their own. */
export function inverseOrientation(orientation: Orientation): Orientation {
  if (orientation === 6) return 8;
  return orientation === 8 ? 6 : orientation;
}
