/**
 * libvips, through sharp, and the only place that loads it: a native module,
 * which needs permissions and a build for the platform. Without it PNG, JPEG and
 * TIFF are decoded in JavaScript: jpeg_decoder.ts.
 *
 * @module
 */
import { ImageError } from "../../errors.ts";

/** The functions of sharp. */
export type Libvips = typeof import("sharp").default;

/** The library, or the reason why it does not load, in one line. */
type Found = { libvips: Libvips; reason?: never } | {
  libvips?: never;
  reason: string;
};

// libvips picks a loader by content: untrusted bytes may reach only the loaders
// of PNG, JPEG, WebP and TIFF. Listed are the others of sharp's build and of
// libvips 8.18.
const BLOCKED = [
  ...["Csv", "Heif", "Jp2k", "Matrix", "Nsgif", "Openslide", "Pdf", "Raw"],
  ...["Svg", "Uhdr", "Vips", "Analyze", "DcRaw", "Fits", "Jxl", "Magick"],
  ...["Magick7", "Mat", "Nifti", "Openexr", "Ppm", "Rad"],
];

let found: Promise<Found> | undefined;

/** Loads the library, once. */
export function findLibvips(): Promise<Found> {
  return found ??= load();
}

/**
 * The library, for tasks without another decoder.
 *
 * @param act action named in the error; opening the file if omitted.
 * @throws {ImageError} If it does not load.
 */
export async function libvips(act?: string): Promise<Libvips> {
  const { libvips, reason } = await findLibvips();
  if (libvips) return libvips;
  throw new ImageError(
    `${
      act === undefined
        ? "only sharp decodes it, and it"
        : `Cannot ${act}: sharp`
    } does not load (${reason}); run with the permissions that the tasks of deno.json have`,
  );
}

async function load(): Promise<Found> {
  try {
    const { default: sharp } = await import("sharp");
    sharp.cache(false); // its cache would escape the bound of ImageCache
    sharp.concurrency(1); // workers already use every core
    // All Workers share libvips: a temporary change of the block list would
    // disturb them.
    sharp.block({ operation: BLOCKED.map((name) => `VipsForeignLoad${name}`) });
    return { libvips: sharp };
  } catch (error) {
    const { state } = await Deno.permissions.query({ name: "ffi" });
    const [line] = (error as Error).message.trim().split("\n", 1);
    return { reason: state === "granted" ? line! : "there is no --allow-ffi" };
  }
}
