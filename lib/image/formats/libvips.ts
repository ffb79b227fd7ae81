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

/** The library, or why it does not load, in one line. */
type Found = { libvips: Libvips; reason?: never } | {
  libvips?: never;
  reason: string;
};

// libvips picks a loader by content: but for PNG, JPEG, WebP and TIFF none may
// see a stranger's bytes. Those of sharp's build, and of others of libvips 8.18.
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
 * The library, for what nothing else does.
 *
 * @param act is told of in the error; if omitted, it is what is opened.
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
    sharp.cache(false); // its cache would hold what ImageCache bounds
    sharp.concurrency(1); // workers already use every core
    // All Workers share libvips: to block more for a moment would disturb them.
    sharp.block({ operation: BLOCKED.map((name) => `VipsForeignLoad${name}`) });
    return { libvips: sharp };
  } catch (error) {
    const { state } = await Deno.permissions.query({ name: "ffi" });
    const [line] = (error as Error).message.trim().split("\n", 1);
    return { reason: state === "granted" ? line! : "there is no --allow-ffi" };
  }
}
