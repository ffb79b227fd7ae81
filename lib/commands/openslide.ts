/**
 * `deno task openslide`: OpenSlide from its wheel of PyPI, without the system's
 * packages.
 *
 * @module
 */
import { libraryVersion } from "../image/formats/openslide.ts";
import { takeFromWheel } from "../image/formats/openslide_library.ts";
import { UsageError } from "../errors.ts";
import { parseFlags, type Usage } from "./shared/flags.ts";

export const summary = "Take OpenSlide out of its Python wheel";

export const usage: Usage = {
  synopsis: ["deno task openslide FILE.whl"],
  about:
    "Puts the shared library of an openslide-bin wheel beside the code, where slides are looked for first. Version 4 reads DICOM and CZI, which Debian's does not.",
  groups: [{ flags: {} }],
  notes:
    "Get the wheel of this machine by: pip download --no-deps openslide-bin. Its library is run, so take it from PyPI only. To undo it, remove the folder .openslide.",
};

/**
 * Takes the library out of the wheel that `argv` names.
 *
 * @throws {UsageError} If an argument is wrong.
 * @throws {WheelError} If the wheel is of no use.
 */
export async function run(argv: string[]): Promise<number> {
  const { positionals: [wheel, extra] } = parseFlags(argv, {}, {
    positionals: true,
  });
  if (wheel === undefined || extra !== undefined) {
    throw new UsageError(
      "Missing wheel: give one file, as deno task openslide openslide_bin-VERSION.whl",
    );
  }
  const { path, version } = await takeFromWheel(wheel, {
    check: libraryVersion,
  });
  console.log(`OpenSlide ${version}: ${path}`);
  return 0;
}
