/**
 * libvips, through sharp, and the only place that loads it: a native module,
 * which needs permissions and a build for the platform. Without it PNG, JPEG and
 * TIFF are decoded in JavaScript: jpeg_decoder.ts.
 *
 * @module
 */
import { ImageError } from "../errors.ts";

/** The functions of sharp. */
export type Libvips = typeof import("sharp").default;

/** The library, or why it does not load, in one line. */
type Found = { libvips: Libvips; reason?: never } | {
  libvips?: never;
  reason: string;
};

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
    // libvips picks a loader by content: no other may see a stranger's bytes.
    sharp.block({ operation: ["VipsForeignLoad"] });
    sharp.unblock({
      operation: ["Png", "Jpeg", "Webp", "Tiff"].map((format) =>
        `VipsForeignLoad${format}`
      ),
    });
    return { libvips: sharp };
  } catch (error) {
    const { state } = await Deno.permissions.query({ name: "ffi" });
    const [line] = (error as Error).message.trim().split("\n", 1);
    return { reason: state === "granted" ? line! : "there is no --allow-ffi" };
  }
}
